"""A plugin for pytest: the fixture ``pilot`` runs a cell and reports it through pytest-benchmark.

::

    def test_training_is_fast_enough(pilot):
        row = pilot(backend="torch", workload="cnn", size="tiny")
        assert row["parity"] == "passed"

``pytest --benchmark-only --benchmark-compare-fail=median:10%`` then gates it like any benchmark.
The cell runs in fresh processes of its backend's own environment; each is one round.
pytest-benchmark is told their times through a clock that only they advance: nothing is timed a
second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.pytest_benchmark_file import step_s
from bench.rows import files
from bench.rows.schema import Row

PROCESSES = 3
CHOICES = (
    *("workload", "size", "device", "precision", "mode", "track", "format", "batch", "setting"),
    *("python", "threads", "timeout"),
)


class VirtualClock:
    """Stands still, except where it is told how long something took."""

    def __init__(self) -> None:
        self.now = 0.0

    def read(self) -> float:
        return self.now


CLOCK = VirtualClock()


def pytest_itemcollected(item: pytest.Item) -> None:
    """A test that uses ``pilot`` is timed by the virtual clock; its own marks stay."""
    if "pilot" in getattr(item, "fixturenames", ()):
        own = item.get_closest_marker("benchmark")
        kept = dict(own.kwargs) if own else {}
        item.add_marker(pytest.mark.benchmark(**{**kept, "timer": CLOCK.read}), append=False)


@pytest.fixture
def pilot(benchmark: Any, tmp_path: Path) -> Callable[..., Row]:
    """``pilot(backend=..., workload=..., ...)``: the choices of ``bench run``, one value each.

    Returns the row of the last process. The test fails where a process does not end well, and is
    skipped where the backend cannot do what is asked.
    """

    def run(*, backend: str, processes: int = PROCESSES, **choices: object) -> Row:
        if unknown := sorted(set(choices) - set(CHOICES)):
            raise TypeError(f"pilot() knows no {', '.join(unknown)}: it takes {', '.join(CHOICES)}")
        rows = _rows(backend, processes, choices, tmp_path / "rows.csv")
        for row in rows:
            if row["status"] == "unsupported":
                pytest.skip(row["reason"])
            if row["status"] != "ok":
                pytest.fail(f"{row['cell_id']}: {row['status']}: {row['reason']}")
        _tell(benchmark, rows)
        return rows[-1]

    return run


def _rows(backend: str, processes: int, choices: dict[str, object], out: Path) -> list[Row]:
    from bench import cli  # noqa: PLC0415  # pytest loads plugins at every start

    asked = [part for name, value in choices.items() for part in (f"--{name}", str(value))]
    fixed = ["--backend", backend, "--repeats", str(processes), "--out", str(out)]
    code = cli.main(["run", *fixed, *asked])
    if not out.exists():
        pytest.fail(f"bench run ended with exit code {code} and no rows")
    rows = files.read(out)
    if len({row["cell_id"] for row in rows}) > 1:
        pytest.fail("pilot() takes one cell: give one value of each choice")
    return rows


def _tell(benchmark: Any, rows: list[Row]) -> None:
    seconds: Iterator[float] = iter([step_s(row) or 0.0 for row in rows])

    def advance() -> None:
        CLOCK.now += next(seconds, 0.0)

    benchmark.extra_info |= {
        name: rows[0][name] for name in ("cell_id", "backend_version", "parity")
    }
    benchmark.pedantic(advance, rounds=len(rows), iterations=1)
