"""Comparing and reading histories of 100,000 and 1,000,000 rows: seconds and memory.

``make perf`` prints them; tests/perf/README.md keeps what was measured.
"""

from __future__ import annotations

import csv
import io
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.rows import schema
from tests.comparing import row
from tests.harness import ROOT
from tests.rows import failed_row

SIZES = (100_000, 1_000_000)
REPEATS = 5
NIGHTS = 50
LIMIT_S, LIMIT_MB = 15, 2000
LOST = 10
"""One cell in so many failed: its reasons are looked up among all rows."""
FOLLOWING = ("samples_per_s", "step_ms_p50", "step_ms_p95", "step_ms_p99", "tflops", "mfu")
"""What changes with a row's speed; the row would contradict itself otherwise."""


def lines(count: int, *, run_id: str, seed: int, repeats: int = REPEATS) -> Iterator[str]:
    """CSV lines of ``count`` rows of ``count / repeats`` cells, as a pilot writes them."""
    texts = schema.text(row(1.0, run_id=run_id))
    fields = {name: quoted(text) for name, text in texts.items()}
    failed = [quoted(text) for text in schema.text(failed_row(run_id=run_id)).values()]
    places = [list(fields).index(name) for name in ("cell_id", "repeat")]
    dealer = random.Random(seed)
    for cell in range(count // repeats):
        identity = f"{texts['cell_id']}/case={cell}"
        lost = not dealer.randrange(LOST)
        for repeat in range(1, repeats + 1):
            if lost:
                failed[places[0]], failed[places[1]] = identity, str(repeat)
                yield ",".join(failed)
                continue
            filled = row(dealer.lognormvariate(0, 0.03))
            fields |= {name: repr(filled[name]) for name in FOLLOWING}
            fields |= {"cell_id": identity, "repeat": str(repeat)}
            yield ",".join(fields.values())


def quoted(text: str) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([text])
    return out.getvalue()


def write(path: Path, count: int, **how: object) -> Path:
    header = ",".join(column.name for column in schema.COLUMNS)
    with path.open("w") as file:
        file.write(header + "\n")
        file.writelines(f"{one}\n" for one in lines(count, **how))
    return path


def measured(*arguments: str) -> tuple[float, float]:
    """Wall seconds and peak megabytes of one ``bench`` command; its exit code must be fine."""
    script = (
        "import os, sys, time, resource, subprocess\n"
        "start = time.perf_counter()\n"
        "code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode\n"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3\n"
        "print(code, time.perf_counter() - start, peak)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, sys.executable, "-m", "bench", *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ,
    )
    code, seconds, megabytes = done.stdout.split()
    assert code == "0", done.stderr
    return float(seconds), float(megabytes)


@pytest.mark.parametrize("count", SIZES)
def test_compare(benchmark, tmp_path, count):
    sides = [
        write(tmp_path / f"{name}.csv", count // 2, run_id=name, seed=seed)
        for name, seed in (("a", 1), ("b", 2))
    ]
    found: list[tuple[float, float]] = []
    benchmark.pedantic(
        lambda: found.append(
            measured("compare", *map(str, sides), "--fail-on", "larger", "--format", "csv")
        ),
        rounds=1,
    )
    report(f"compare {count:,} rows", *found[0])


@pytest.mark.parametrize("count", SIZES)
def test_history(benchmark, tmp_path, count):
    for night in range(NIGHTS):
        write(tmp_path / f"{night:03d}.csv", count // NIGHTS, run_id=f"n{night}", seed=night)
    found: list[tuple[float, float]] = []
    benchmark.pedantic(lambda: found.append(measured("history", str(tmp_path))), rounds=1)
    report(f"history of {count:,} rows", *found[0])


def report(what: str, seconds: float, megabytes: float) -> None:
    print(f"\n{what}: {seconds:.1f} s, {megabytes:.0f} MB (at most {LIMIT_S} s, {LIMIT_MB} MB)")
