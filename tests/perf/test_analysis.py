"""Comparing, scoring and reading histories of 100,000 and 1,000,000 rows: seconds and memory; and
the page of ten backends with 200 cells each, opened in a real browser.

``make perf`` prints them; tests/perf/README.md keeps what was measured.
"""

from __future__ import annotations

import csv
import io
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from backends import registry
from bench.rows import schema
from tests.browser import chromium
from tests.comparing import row
from tests.harness import ROOT
from tests.rows import failed_row

SIZES = (100_000, 1_000_000)
REPEATS = 5
NIGHTS = 50
BACKENDS = tuple(registry.BACKENDS)
LIMIT_S, LIMIT_MB = 15, 2000
LOST = 10
"""One cell in so many failed: its reasons are looked up among all rows."""
FOLLOWING = ("samples_per_s", "step_ms_p50", "step_ms_p95", "step_ms_p99", "tflops", "mfu")
"""What changes with a row's speed; the row would contradict itself otherwise."""


def lines(
    count: int,
    *,
    run_id: str,
    seed: int,
    repeats: int = REPEATS,
    backends: Sequence[str] = ("torch",),
) -> Iterator[str]:
    """CSV lines of ``count`` rows of ``count / repeats`` cells, as a pilot writes them; the
    backends meet in every case.
    """
    texts = schema.text(row(1.0, run_id=run_id))
    fields = {name: quoted(text) for name, text in texts.items()}
    failed = [quoted(text) for text in schema.text(failed_row(run_id=run_id)).values()]
    places = [list(fields).index(name) for name in ("cell_id", "repeat", "backend")]
    dealer = random.Random(seed)
    for cell in range(count // repeats):
        backend = backends[cell % len(backends)]
        rest = texts["cell_id"].partition("/")[2]
        identity = f"{backend}/{rest}/case={cell // len(backends)}"
        lost = not dealer.randrange(LOST)
        for repeat in range(1, repeats + 1):
            if lost:
                for place, text in zip(places, (identity, str(repeat), backend), strict=True):
                    failed[place] = text
                yield ",".join(failed)
                continue
            filled = row(dealer.lognormvariate(0, 0.03))
            fields |= {name: repr(filled[name]) for name in FOLLOWING}
            fields |= {"cell_id": identity, "repeat": str(repeat), "backend": backend}
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


@pytest.mark.parametrize("count", SIZES)
def test_score(benchmark, tmp_path, count):
    path = write(tmp_path / "rows.csv", count, run_id="a", seed=1, backends=BACKENDS)
    found: list[tuple[float, float]] = []
    benchmark.pedantic(lambda: found.append(measured("score", str(path))), rounds=1)
    report(f"score {count:,} rows", *found[0])


def test_page(benchmark, tmp_path):
    path = tmp_path / "page.html"
    rows = write(tmp_path / "rows.csv", 2000, run_id="a", seed=1, repeats=1, backends=BACKENDS)
    seconds, megabytes = measured("report", str(rows), "-o", str(path))
    report("making the page of 10 backends x 200 cells", seconds, megabytes)
    found: list[float] = []
    benchmark.pedantic(lambda: found.append(opened(path)), rounds=1)
    print(f"opening it ({path.stat().st_size / 1e6:.1f} MB): {found[0]:.2f} s (at most 2 s)")


def opened(path: Path) -> float:
    """Seconds until the page is whole and its first chart drawn, in a browser that runs already."""
    program = chromium.find()
    if program is None:
        pytest.skip(chromium.lacking())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        start = time.perf_counter()
        page.goto(path.as_uri())
        page.wait_for_selector("[data-chart=ranking] svg")
        taken = time.perf_counter() - start
        browser.close()
    return taken


def report(what: str, seconds: float, megabytes: float) -> None:
    print(f"\n{what}: {seconds:.1f} s, {megabytes:.0f} MB (at most {LIMIT_S} s, {LIMIT_MB} MB)")
