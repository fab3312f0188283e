"""Pilots on a real Slurm of two nodes, and what may happen to them on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.cluster import slurm as engine
from bench.cluster.plan import PilotFolder
from bench.rows import files, reading
from tests.harness import environment
from tests.slurm.cluster import Cluster, lacking

WAIT_S = 200.0
CELLS = ("--backend", "fake", "--size", "tiny", "--device", "cpu", "--repeats", "1")
HANGS = (*CELLS, "--workload", "cnn", "--setting", "do=nothing,hang", "--schedule", "sequential")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    if missing := lacking():
        if os.environ.get("BENCH_NO_SKIPS"):
            pytest.fail(missing)
        pytest.skip(missing)
    with Cluster(tmp_path_factory.mktemp("slurm") / "cluster") as running:
        yield running


class Pilot:
    """One pilot's folder, and the commands on it."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = PilotFolder(folder)
        self.out = folder.parent / f"{folder.name}.csv"

    def bench(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bench", *arguments],
            env=environment() | {"SLURM_CONF": self.cluster.environment["SLURM_CONF"]},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def submit(self, *run: str, how: tuple[str, ...] = ()) -> None:
        place = ("--folder", str(self.folder.path), "--engine", "slurm", "--partition", "main")
        done = self.bench("submit", *place, *how, "--", *run, "--python", f"fake={sys.executable}")
        assert done.returncode == 0, done.stderr

    def collect(self, *how: str) -> tuple[int, list[dict], list[str]]:
        """Exit code, rows, and why what is missing is."""
        options = ("--out", str(self.out), "--json", *how)
        done = self.bench("collect", str(self.folder.path), *options)
        assert done.stdout, done.stderr
        missing = [one["why"] for one in json.loads(done.stdout)["missing"]]
        return done.returncode, files.read(self.out), missing

    def job(self) -> str:
        (one,) = self.folder.submissions()[-1].ids.values()
        return one

    def until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT_S
        while not true():
            assert time.monotonic() < end, self.cluster.ask("scontrol", "show", "job")
            time.sleep(0.2)

    def rows_on_disk(self) -> int:
        return sum(len(files.finished(path)) for path in self.folder.rows.glob("*.csv"))

    def attempts(self) -> int:
        return len(list(self.folder.rows.glob("*.csv")))


@pytest.fixture
def pilot(cluster, tmp_path) -> Pilot:
    return Pilot(cluster, tmp_path / "pilot")


@pytest.fixture(scope="module")
def limited(cluster, tmp_path_factory) -> Pilot:
    """Begun before the others' tests, for Slurm counts in minutes."""
    made = Pilot(cluster, tmp_path_factory.mktemp("limited") / "pilot")
    made.submit(*HANGS, "--timeout", "1000", how=("--time", "2"))
    return made


def statuses(rows: list[dict]) -> Counter:
    return Counter(row["status"] for row in rows)


def test_a_pilot_on_two_nodes(limited, pilot):
    workloads = ("--workload", "cnn,export", "--mode", "all")
    pilot.submit(*CELLS, *workloads, how=("--gres", "gpu:1", "--set", "comment=a pilot"))
    code, rows, missing = pilot.collect("--follow")
    assert (code, missing) == (0, [])
    assert len(rows) == len({(row["cell_id"], row["repeat"]) for row in rows}) == 6
    assert statuses(rows) == {"ok": 6}
    assert len({row["run_id"] for row in rows}) == 1
    assert len(pilot.folder.plan().shares) == 3
    # What is compared ran together: a share's rows took turns, or followed each other, on one node.
    assert all(row["idle_cpu"] is not None for row in rows if row["workload"] == "cnn")
    times = reading.read_steps(files.steps_path(pilot.out))
    assert {(one["cell_id"], one["repeat"]) for one in times} <= {
        (row["cell_id"], row["repeat"]) for row in rows
    }
    before = pilot.out.read_bytes()
    assert pilot.collect()[0] == 0
    assert pilot.out.read_bytes() == before  # collected twice
    assert "nothing is missing" in pilot.bench("submit", "--resume", str(pilot.folder.path)).stdout


def test_a_requeued_job_goes_on(pilot):
    pilot.submit(*HANGS, "--timeout", "12")
    pilot.until(lambda: pilot.rows_on_disk() == 1)
    pilot.cluster.ask("scontrol", "requeue", pilot.job())
    code, rows, missing = pilot.collect("--follow")
    assert (code, missing) == (0, [])
    assert [row["status"] for row in rows] == ["ok", "timeout"]
    assert rows[1]["wall_s"] >= 12  # a row of its own cell's deadline, not of a job that ended
    assert pilot.attempts() == 2


def test_cancelled_and_resumed(pilot):
    pilot.submit(*HANGS, "--timeout", "12")
    pilot.until(lambda: pilot.rows_on_disk() == 1)
    pilot.collect("--cancel")
    pilot.until(lambda: all(state.ended for state in states(pilot).values()))
    code, rows, missing = pilot.collect()
    assert code == 1
    assert [row["status"] for row in rows] == ["ok", "interrupted"]
    assert missing == [f"the job was cancelled: job {pilot.job()}"]
    assert pilot.bench("submit", "--resume", str(pilot.folder.path)).returncode == 0
    code, rows, missing = pilot.collect("--follow")
    assert (code, missing) == (0, [])
    assert [row["status"] for row in rows] == ["ok", "timeout"]


def states(pilot: Pilot) -> dict[str, engine.State]:
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = pilot.cluster.environment["SLURM_CONF"]
    try:
        return engine.states([pilot.job()])
    finally:
        os.environ.pop("SLURM_CONF")
        if before:
            os.environ["SLURM_CONF"] = before


def node_of(pilot: Pilot) -> str:
    shown = pilot.cluster.ask("scontrol", "--oneliner", "show", "job", pilot.job())
    return shown.partition(" NodeList=")[2].split()[0]


def test_a_preempted_job_goes_on(pilot):
    pilot.submit(*HANGS, "--timeout", "12")
    pilot.until(lambda: pilot.rows_on_disk() == 1)
    whole = (
        "--partition=urgent",
        f"--nodelist={node_of(pilot)}",
        "--exclusive",
        "--output=/dev/null",
    )
    pilot.cluster.ask("sbatch", *whole, "--wrap=sleep 1")
    code, rows, missing = pilot.collect("--follow")
    assert (code, missing) == (0, [])
    assert [row["status"] for row in rows] == ["ok", "timeout"]
    assert pilot.attempts() == 2


def completed_without(pilot: Pilot, kill: Callable[[str], None]) -> None:
    """The grid, though what is killed of the pilot's node comes back only afterwards."""
    pilot.submit(*HANGS, "--timeout", "12")
    pilot.until(lambda: pilot.rows_on_disk() == 1)
    node = node_of(pilot)
    kill(node)
    try:
        code, rows, missing = pilot.collect("--follow")
    finally:
        pilot.cluster.start_node(node)
    assert (code, missing) == (0, [])
    assert [row["status"] for row in rows] == ["ok", "timeout"]


def test_a_node_that_dies(pilot):
    completed_without(pilot, pilot.cluster.kill_node)
    assert pilot.attempts() == 2


def test_a_daemon_that_dies_leaves_its_job_to_end(pilot):
    """Slurm may start the job again meanwhile: there is one row of each cell all the same."""
    completed_without(pilot, pilot.cluster.kill_daemon)


def test_the_time_limit(limited):
    code, rows, missing = limited.collect("--follow")
    assert code == 1
    assert [row["status"] for row in rows] == ["ok", "timeout"]
    assert missing == [f"the job's time limit of 2 min: job {limited.job()}"]


def test_no_controller_is_no_hang(cluster, tmp_path):
    (tmp_path / "slurm.conf").write_text("ClusterName=x\nSlurmctldHost=nowhere(127.0.0.1)\n")
    lost = Pilot(Cluster(tmp_path), tmp_path / "pilot")
    place = ("--engine", "slurm", "--folder", str(lost.folder.path))
    done = lost.bench("submit", *place, "--", *CELLS, "--workload", "cnn")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("bench: slurm took no jobs: ")
