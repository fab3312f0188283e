"""Every way in which a worker can end leaves its typed row, and the next cell runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.rows import files
from tests.harness import bench, environment

EXPECTED = {
    "exception": ("failed", "start: RuntimeError: a plain failure"),
    "out_of_memory": ("oom", "out of memory"),
    "segfault": ("crashed", "signal 11 (SIGSEGV)"),
    "kill": ("crashed", "signal 9 (SIGKILL)"),
    "exit": ("crashed", "exit code 0 without an answer"),
    "hang": ("timeout", "start: no answer before the cell's deadline"),
    "balloon": ("oom", "past the limit of 700 MiB"),
    "unsupported": ("unsupported", "asked to be unsupported"),
    "wrong_logits": ("parity_failed", "logits off by"),
    "full_disk": ("failed", "row file: OSError"),
    "nonsense": ("failed", "start: the worker's answer is no JSON"),
    "forged": ("crashed", "exit code 0 without an answer"),
    "grandchildren": ("ok", ""),
    "print": ("ok", ""),
    "nothing": ("ok", ""),
}

RUN = (sys.executable, "-m", "bench", "run", "--size", "tiny", "--device", "cpu")


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> dict[str, dict]:
    folder = tmp_path_factory.mktemp("statuses")
    out = folder / "all.csv"
    with pytest.MonkeyPatch.context() as patch:
        # Its scratch folders lie here, so that its workers are told from any others.
        patch.setenv("TMPDIR", str(folder))
        done = bench(
            "--workload",
            "cnn",
            "--out",
            str(out),
            "--timeout",
            "30",
            "--memory-limit",
            "700",
            "--setting",
            "do=" + ",".join(EXPECTED),
        )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return {row["cell_id"].rpartition("=")[2]: {**row, "_csv": out} for row in files.read(out)}


@pytest.mark.parametrize("what", EXPECTED)
def test_each_end_has_its_status_and_reason(rows, what):
    status, reason = EXPECTED[what]
    assert rows[what]["status"] == status
    assert reason in (rows[what]["reason"] or "")
    assert rows[what]["wall_s"] > 0
    assert rows[what]["backend"] == "fake"  # whatever a worker says that it is


def test_no_cell_disappears(rows):
    assert list(rows) == list(EXPECTED)


def test_a_failure_keeps_its_traceback_in_a_log(rows):
    logs = rows["exception"]["_csv"].with_suffix(".logs")
    [log] = logs.glob("*do=exception*")
    assert "RuntimeError: a plain failure" in log.read_text()


def test_what_was_measured_before_the_end_is_kept(rows):
    assert rows["segfault"]["wall_s"] > 0
    assert rows["wrong_logits"]["parity_logits_err"] > 1e-5
    assert rows["wrong_logits"]["samples_per_s"] is None


def test_nothing_that_a_worker_started_outlives_its_cell(rows):
    left = []
    mark = f"BENCH_SCRATCH={rows['nothing']['_csv'].parent}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes():
                left.append(int(folder.name))
        except OSError:
            continue
    assert left == []


def test_a_log_that_cannot_be_kept_ends_nothing(tmp_path):
    out = tmp_path / "rows.csv"
    out.with_suffix(".logs").write_text("in its place")
    done = bench("--workload", "cnn", "--setting", "do=exception,exit", "--out", str(out))
    assert done.returncode == 3, done.stderr
    assert [row["status"] for row in files.read(out)] == ["failed", "crashed"]
    assert done.stdout.count("(File exists): the run goes on without logs") == 1, done.stdout


def test_a_failed_import_is_an_environment_failure(tmp_path):
    out = tmp_path / "broken.csv"
    done = bench("--workload", "cnn", "--out", str(out), backend="broken")
    assert done.returncode == 3, done.stderr
    [row] = files.read(out)
    assert row["status"] == "env_failed"
    assert "libfake.so.1: cannot open shared object file" in row["reason"]


def test_an_environment_that_cannot_be_built_is_a_row_of_each_cell(tmp_path):
    out = tmp_path / "env.csv"
    done = subprocess.run(
        [*RUN, "--backend", "onnxruntime", "--workload", "export", "--out", str(out)],
        capture_output=True,
        text=True,
        env={**environment(), "BENCH_ENVS": "/proc/nowhere"},
        check=False,
    )
    assert done.returncode == 3, done.stderr
    rows = files.read(out)
    assert [row["status"] for row in rows] == ["env_failed"] * 2
    assert "/proc/nowhere" in rows[0]["reason"]


def test_the_memory_of_a_child_and_a_grandchild_is_seen(tmp_path):
    out = tmp_path / "family.csv"
    done = bench("--workload", "cnn", "--out", str(out), "--setting", "do=family,nothing")
    assert done.returncode == 0, done.stderr
    family, alone = files.read(out)
    # 300 MB each, besides two bare interpreters of some 10 MiB.
    held = 600e6 / 2**20
    # Pages of the interpreter are shared by more processes, so each counts them for less.
    assert 0.97 * held <= family["peak_host_mib"] - alone["peak_host_mib"] <= 1.05 * held


def test_exports_climb_the_ladder_and_say_where_they_stop(tmp_path):
    out = tmp_path / "export.csv"
    done = bench(
        "--workload",
        "export",
        "--format",
        "native",
        "--out",
        str(out),
        "--setting",
        "do=nothing,static_shape,bad_file",
    )
    assert done.returncode == 0, done.stderr
    rungs = {(row["model"], row["cell_id"].rpartition("=")[2]): row for row in files.read(out)}
    assert rungs["cnn", "nothing"]["export_rung"] == "latency"
    assert rungs["cnn", "nothing"]["infer_ms_p50"] > 0
    static = rungs["cnn", "static_shape"]
    assert (static["status"], static["export_rung"]) == ("ok", "numerics")
    assert "the batch dimension is fixed" in static["reason"]
    bad = rungs["transformer", "bad_file"]
    assert (bad["status"], bad["export_rung"]) == ("failed", "exported")
    assert "this file is not a model" in bad["reason"]
