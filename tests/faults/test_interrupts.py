"""Signals to the harness itself: nothing finished is lost, and a resumed run ends complete."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import memory
from bench.job import Job
from bench.rows import files
from bench.rows.places import log_path
from tests.cells import cell
from tests.harness import bench, environment, start


def until(process: subprocess.Popen, text: str) -> str:
    """Read its output up to the line that holds ``text``; the other end keeps on running."""
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"ended before printing {text!r}: {seen}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_keeps_its_rows_and_resumes(tmp_path, number):
    out = tmp_path / "run.csv"
    # The first cell finishes; the second hangs, so the signal surely finds it running.
    arguments = ("--workload", "cnn", "--timeout", "100", "--setting", "do=nothing,hang")
    process = start(*arguments, "--out", str(out))
    until(process, "[1/2]")
    first_worker(process)
    os.kill(process.pid, number)
    process.communicate()
    assert process.returncode == (-9 if number == signal.SIGKILL else 130)

    first = [row["status"] for row in files.read(out)]
    assert first == (["ok"] if number == signal.SIGKILL else ["ok", "interrupted"])

    done = bench(
        "--workload", "cnn", "--timeout", "3", "--setting", "do=nothing,hang", "--resume", str(out)
    )
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in files.read(out)] == ["ok", "timeout"]
    assert len({row["run_id"] for row in files.read(out)}) == 1
    log = [json.loads(line) for line in log_path(out).read_text().splitlines()]
    told = ("plan", "row", "interrupted", "resumed", "ended")
    stopped = [] if number == signal.SIGKILL else ["row", "interrupted"]
    expected = ["plan", "row", *stopped, "resumed", "plan", "row", "ended"]
    assert [one["event"] for one in log if one["event"] in told] == expected
    assert len({one["run_id"] for one in log}) == 1


def test_workers_die_with_a_killed_harness(tmp_path):
    process = start("--workload", "cnn", "--setting", "do=hang", "--out", str(tmp_path / "x.csv"))
    ends = os.pidfd_open(first_worker(process))
    process.kill()
    process.communicate()
    select.select([ends], [], [])  # readable when the worker has ended; pytest's timeout otherwise
    os.close(ends)


def test_the_next_run_ends_what_a_killed_harness_left(tmp_path, monkeypatch):
    """Its scratch folder, and what its worker had started, which would take CPUs from others."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # so that no other test's run does it
    out = tmp_path / "x.csv"
    process = start(
        "--workload", "cnn", "--setting", "do=hang_with_grandchildren", "--out", str(out)
    )
    worker = first_worker(process)
    while len(started := set(memory.tree(worker)) - {worker}) < 2:
        assert process.poll() is None
    ends = [os.pidfd_open(pid) for pid in started]
    process.kill()
    process.communicate()
    [left] = tmp_path.glob("bench-*")
    assert select.select(ends, [], [], 0)[0] == []
    done = bench("--workload", "cnn", "--resume", str(out), "--setting", "do=nothing")
    assert done.returncode == 0, done.stderr
    assert not left.exists()
    for end in ends:
        select.select([end], [], [])
        os.close(end)


def test_a_worker_that_was_stopped_and_continued_is_not_believed(tmp_path):
    out = tmp_path / "run.csv"
    process = start("--workload", "cnn", "--setting", "do=hang", "--out", str(out))
    while process.poll() is None:  # its hang, signal.pause, ends where the signal is handled
        for worker in workers_of(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGSTOP)
                os.kill(worker, signal.SIGCONT)
        time.sleep(0.1)
    process.communicate()
    [row] = files.read(out)
    assert row["status"] == "interrupted"  # so that --resume runs it again, and no score counts it
    assert row["reason"].startswith("start: the worker was stopped and continued")


def test_a_worker_whose_harness_is_gone_does_not_wait_for_it(tmp_path):
    """It was killed before the worker could ask to die with it."""
    names = ("weights", "data", "trace", "exported", "logits", "commands", "replies", "row")
    places = {name: tmp_path / name for name in names}
    cpus = sorted(os.sched_getaffinity(0))
    job = Job("train", cell(), "fake_backend", **places, cpus=cpus, parent=os.getpid())
    for pipe in (job.commands, job.replies):
        os.mkfifo(pipe)
    job.write(tmp_path / "job.json")
    ended = subprocess.run(
        [sys.executable, "-m", "bench.worker", str(tmp_path / "job.json")],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 1
    assert "No such device or address" in ended.stderr  # ENXIO: nobody reads what it would say


def first_worker(process: subprocess.Popen) -> int:
    """The worker that runs now, as soon as there is one."""
    while not (workers := workers_of(process.pid)):
        assert process.poll() is None
    return workers[0]


def workers_of(pid: int) -> list[int]:
    found = []
    for place in memory.tree(pid):
        try:
            line = Path(f"/proc/{place}/cmdline").read_bytes()
        except OSError:
            continue
        if b"bench.worker" in line:
            found.append(place)
    return found
