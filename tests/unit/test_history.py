"""Series whose changes are known: they were put there."""

from __future__ import annotations

import csv
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from bench.cli import main
from bench.history import changes
from tests.comparing import rows, write

NOISE = 0.02
NIGHTS = 40


def nights(rng: np.random.Generator, *, steps: dict[int, float], n: int = NIGHTS) -> np.ndarray:
    """Logarithms with normal noise; steps: night -> factor from then on."""
    level = np.zeros(n)
    for at, factor in steps.items():
        level[at:] += math.log(factor)
    return level + rng.normal(0, NOISE, n)


def score(planted: list[int], found: list[int], *, within: int = 1) -> tuple[int, int, int]:
    """Found rightly, found wrongly, missed; a change may be a night off."""
    left = list(planted)
    right = 0
    for at in found:
        near = [one for one in left if abs(one - at) <= within]
        if near:
            left.remove(near[0])
            right += 1
    return right, len(found) - right, len(left)


def measured(kind: str, tries: int = 1000) -> tuple[float, float]:
    """Precision and recall over seeded series of one kind; docs/history.md states them."""
    rng = np.random.default_rng(7)
    total = np.zeros(3, int)
    for _ in range(tries):
        planted, logs = PLANTED[kind](rng)
        total += score(planted, [one.at for one in changes.find(logs).changes])
    right, wrong, missed = total
    return right / max(right + wrong, 1), right / max(right + missed, 1)


def one_step(rng):
    at = int(rng.integers(5, NIGHTS - 5))
    return [at], nights(rng, steps={at: float(rng.choice([0.9, 1.1]))})


def two_steps(rng):
    first, second = int(rng.integers(6, 14)), int(rng.integers(24, 33))
    return [first, second], nights(rng, steps={first: 0.9, second: 1.08})


def with_outliers(rng):
    at, logs = one_step(rng)
    places = rng.choice([one for one in range(NIGHTS) if abs(one - at[0]) > 3], 3, replace=False)
    logs[places] += math.log(0.7)
    return at, logs


def with_gaps(rng):
    """A third of the nights is missing: a series knows its runs, not the calendar."""
    at, logs = one_step(rng)
    kept = np.sort(rng.choice(NIGHTS, 27, replace=False))
    return [int(np.searchsorted(kept, at[0]))], logs[kept]


PLANTED = {
    "one step": one_step,
    "two steps": two_steps,
    "outliers": with_outliers,
    "gaps": with_gaps,
}


@pytest.mark.parametrize(
    ("kind", "precision", "recall"),
    [
        ("one step", 0.98, 0.97),
        ("two steps", 0.98, 0.98),
        ("outliers", 0.95, 0.95),
        ("gaps", 0.98, 0.89),
    ],
)
def test_precision_and_recall(kind, precision, recall):
    found = measured(kind)
    assert found[0] >= precision
    assert found[1] >= recall


def test_nothing_planted_nothing_found():
    rng = np.random.default_rng(11)
    found = [changes.find(nights(rng, steps={})).changes for _ in range(500)]
    assert sum(map(bool, found)) <= 5


def test_a_drift_is_a_trend_and_not_many_steps():
    rng = np.random.default_rng(13)
    line = np.linspace(0, math.log(1.25), 60)
    found = [changes.find(line + rng.normal(0, NOISE, 60)) for _ in range(100)]
    assert sum(not one.changes and one.trend > 0.1 for one in found) >= 95


def test_an_outlier_is_told_and_is_no_change():
    logs = nights(np.random.default_rng(3), steps={})
    logs[20] += math.log(0.5)
    found = changes.find(logs)
    assert 20 in found.outliers
    assert not found.changes


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_too_few_nights_have_no_changes(n):
    assert changes.find(np.arange(n, dtype=float)).changes == []


def test_a_series_that_repeats_to_the_last_digit():
    logs = np.array([0.0] * 10 + [0.1] * 10)
    assert [one.at for one in changes.find(logs).changes] == [10]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """20 nights; on the 13th a new version, 20 % slower."""
    rng = np.random.default_rng(5)
    for night in range(20):
        factor, version = (1.0, "2.13.0") if night < 12 else (0.8, "2.14.0")
        when = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=night)
        factors = factor * np.exp(rng.normal(0, 0.01, 3))
        found = rows(
            [float(one) for one in factors],
            run_id=f"n{night}",
            started_at=when,
            backend_version=version,
            cluster="east",
        )
        write(tmp_path / "east" / f"{night:02d}.csv", found)
    return tmp_path


def test_the_change_and_the_version_are_named(folder, capsys):
    assert main(["history", str(folder), "--fail-on", "worse", "--recent", "8"]) == 1
    out = capsys.readouterr().out
    assert "2026-03-13: slower, -20" in out or "2026-03-13: slower, -19" in out
    assert "backend_version 2.13.0 -> 2.14.0" in out
    assert main(["history", str(folder), "--fail-on", "change", "--recent", "7"]) == 0


def test_json(folder, capsys):
    assert main(["history", str(folder), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["series"]
    (change,) = found["changes"]
    assert change["at"] == 12
    assert change["ratio"] == pytest.approx(0.8, rel=0.02)
    assert change["changed"] == {"backend_version": ["2.13.0", "2.14.0"]}
    assert len(found["nights"]) == 20
    assert found["nights"][0]["processes"] == 3


def test_latency_of_a_slower_night_is_larger(folder, capsys):
    main(["history", str(folder), "--metric", "latency_p50", "--json"])
    ((change,),) = [one["changes"] for one in json.loads(capsys.readouterr().out)["series"]]
    assert change["ratio"] == pytest.approx(1.25, rel=0.02)


def test_otava_files(folder, tmp_path, capsys):
    out = tmp_path / "otava"
    assert main(["history", str(folder), "--otava", str(out)]) == 0
    (path,) = out.glob("*.csv")
    found = list(csv.DictReader(path.read_text().splitlines()))
    assert len(found) == 20
    assert float(found[0]["throughput"]) == pytest.approx(1280, rel=0.05)
    assert f"file: {path.name}" in (out / "otava.yaml").read_text()


def test_a_backend_with_no_night_is_no_series(tmp_path, capsys):
    failed = {"status": "unsupported", "reason": "no"}
    kept = {name: value for name, value in rows([1.0])[0].items() if name in IDENTITY}
    path = write(tmp_path / "rows.csv", [kept | failed])
    assert main(["history", str(path)]) == 3


IDENTITY = (
    *("schema", "run_id", "cell_id", "repeat", "started_at", "host", "backend", "workload"),
    *("model", "size", "device", "precision", "mode", "track", "batch", "world_size"),
)
