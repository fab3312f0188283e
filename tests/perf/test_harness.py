"""What the harness itself costs. Benchmarks, not tests: run them alone, with ``make perf``.

Each prints its figure beside its budget. The figures of the last run are in README.md here.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from bench import clock, grid, memory
from bench.backends_index import find
from bench.child import launch
from bench.child.launch import Child
from bench.envs import Env
from bench.rows import files
from bench.run.run_cell import run_cell
from bench.run.tools import Tools
from tests.harness import FAKE
from tests.rows import ok_row
from workloads import prepare

STEP_NS = 1_000_000
PHASES = ("import_s", "build_s", "parity_s", "warmup_s", "measure_s")


def report(name: str, value: float, budget: float, unit: str) -> None:
    verdict = "within" if value <= budget else "OVER"
    sys.stderr.write(f"\n{name}: {value:.4g} {unit}, budget {budget:g} {unit}: {verdict}\n")


def spin() -> None:
    """A step of one millisecond that does nothing but read the clock."""
    end = time.perf_counter_ns() + STEP_NS
    while time.perf_counter_ns() < end:
        pass


def bare(steps: int) -> int:
    start = time.perf_counter_ns()
    for _ in range(steps):
        spin()
    return time.perf_counter_ns() - start


def test_the_timed_loop(benchmark):
    """Alternate bare loops and blocks of 50 steps of 1 ms; the least of each is compared."""
    pairs = [(bare(50), clock.block(spin, lambda: None, 50)) for _ in range(20)]
    least_bare, least_block = (min(column) for column in zip(*pairs, strict=True))
    benchmark(clock.block, spin, lambda: None, 50)
    report("timed loop over a bare loop", 100 * (least_block / least_bare - 1), 0.5, "%")


def test_appending_a_row(benchmark, tmp_path):
    with files.ResultFile.create(tmp_path / "rows.csv") as file:
        repeats = iter(range(1, 10**9))
        benchmark(lambda: file.append({**ok_row(), "repeat": next(repeats)}, None))
    report("appending a row", 1e3 * benchmark.stats.stats.median, 1, "ms")


@pytest.fixture
def task(monkeypatch) -> grid.Task:
    monkeypatch.syspath_prepend(str(FAKE))
    request = grid.Request(
        backends=["fake"],
        workloads=["cnn"],
        sizes=["small"],
        devices=["cpu"],
        brought=["fake"],
        threads=1,
    )
    return grid.plan(request, entry=find)[0]


def tools() -> Tools:
    env = Env(python=Path(sys.executable), lock="packages:perf", device="cpu", note="")
    return Tools(
        environment=lambda *_: env, prepared=prepare.ensure, say=lambda _: None, timeout_s=100
    )


def test_a_cell_outside_its_phases(benchmark, task):
    """Wall time that is neither import, build, gate, warm-up nor measuring."""

    def overhead() -> float:
        row = run_cell(task, tools()).row
        assert row["status"] == "ok", row
        return row["wall_s"] - sum(row[phase] for phase in PHASES)

    rest = benchmark.pedantic(overhead, rounds=1)
    report("a cell's wall time outside its phases", rest, 0.5, "s")


def test_the_parent_while_a_worker_measures(benchmark, task, monkeypatch):
    """CPU share and memory of this process from warm-up to the last timed block."""
    spent: list[float] = []
    ask = Child.ask

    def watched(self: Child, do: str, **arguments: object) -> dict:
        wall, cpu = time.perf_counter(), time.process_time()
        reply = ask(self, do, **arguments)
        if do in launch.TIMING:
            spent.append(time.perf_counter() - wall)
            shares.append(time.process_time() - cpu)
        return reply

    shares: list[float] = []
    monkeypatch.setattr(Child, "ask", watched)
    benchmark.pedantic(lambda: run_cell(task, tools()), rounds=1)
    report("the parent's CPU while measuring", 100 * sum(shares) / sum(spent), 0.5, "% of a core")
    report("the parent's resident memory", memory.resident_bytes(os.getpid()) / 1e6, 200, "MB")
