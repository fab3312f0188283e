"""The kit for a GPU on a CPU and the fake backend: the whole of it, and that it can fail."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.rows import files
from tests.harness import environment


def gpu_check(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", "gpu-check", "--device", "cpu", "--size", "tiny"]
    fake = ["--backend", "fake", "--python", f"fake={sys.executable}", "--workload", "cnn"]
    return subprocess.run(
        [*command, *fake, *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """All parts, with a ``wait`` that does not block."""
    out = tmp_path_factory.mktemp("kit") / "kit.csv"
    return gpu_check("--setting", "do=no_wait", "--out", str(out)), out


def test_only_the_fault_that_was_planted_is_found(checked):
    done, _ = checked
    assert done.returncode == 1, done.stdout + done.stderr
    failed = {line for line in done.stdout.splitlines() if line.startswith("FAIL")}
    # How long an enqueued step takes is noise: only that something is left is certain.
    names = {line.split(":")[0] for line in failed}
    assert "FAIL  wait blocks, nothing left to be done" in names
    assert names <= {
        "FAIL  wait blocks, nothing left to be done",
        "FAIL  wait blocks, time grows with steps",
    }


def test_each_check_is_a_line_and_is_kept(checked):
    done, out = checked
    kept = {one["what"]: one for one in json.loads(out.with_suffix(".checks.json").read_text())}
    kinds = {what.split(":")[0].split(",")[0] for what in kept}
    assert kinds == {
        *("device", "wait blocks", "memory is counted", "compiled", "cuda graphs", "parity"),
        *("speed", "energy", "large", "page"),
    }
    for one in kept.values():
        assert f"{one['status']:4}  {one['what']}  {one['found']}" in done.stdout
    skipped = [one for one in kept.values() if one["status"] == "skip"]
    assert all(one["found"] for one in skipped)
    assert out.with_suffix(".html").exists()


def test_its_rows_are_a_results_file(checked):
    rows = files.read(checked[1])
    assert {row["status"] for row in rows} == {"ok"}
    trials = [row["trial"] for row in rows]
    assert [trials.count(kind) for kind in ("wait", "memory", "parity", "")] == [1, 1, 4, 3]


def test_a_part_that_holds_ends_well_and_is_added_to_the_file(checked):
    done = gpu_check("--part", "2", "--out", str(checked[1]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 ok, 0 FAIL" in done.stdout or "5 ok, 0 FAIL" in done.stdout
    assert len(files.read(checked[1])) == 9 + 4


def test_where_there_is_no_time_nothing_is_checked(tmp_path):
    done = gpu_check("--part", "2", "--minutes", "0", "--out", str(tmp_path / "none.csv"))
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout.count("no time was left of 0 minutes") == 4


def test_a_backend_without_a_lock_for_the_device_has_to_be_brought():
    command = [sys.executable, "-m", "bench", "gpu-check", "--backend", "mxnet"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "bench: none of mxnet has a lock for cuda: bring one, --python\n",
    )
