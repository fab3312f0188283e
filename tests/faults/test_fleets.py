"""Taking turns, with real workers: each ends as it would alone, and none keeps the others."""

from __future__ import annotations

import os
import signal

from bench.rows import files
from tests.faults.test_interrupts import until, workers_of
from tests.harness import bench, start

BATON = ("--schedule", "baton", "--workload", "cnn", "--seed", "7")
ENDS = {
    "nothing": "ok",
    "print": "ok",
    "segfault": "crashed",
    "hang": "timeout",
    "exception": "failed",
    "wrong_logits": "parity_failed",
    "unsupported": "unsupported",
}


def test_a_fleet_leaves_a_row_of_each_member(tmp_path):
    out = tmp_path / "rows.csv"
    asked = ("--timeout", "20", "--setting", f"do={','.join(ENDS)}")
    done = bench(*BATON, *asked, "--out", str(out))
    assert done.returncode == 0, done.stderr
    rows = {row["cell_id"].rpartition("=")[2]: row for row in files.read(out)}
    assert {name: row["status"] for name, row in rows.items()} == ENDS
    assert {row["schedule"] for row in rows.values()} == {"baton"}
    assert {row["seed"] for row in rows.values()} == {7}
    well = [rows["nothing"], rows["print"]]
    assert len({row["fleet"] for row in well}) == 1
    assert well[0]["fleet"]
    # They sleep in the kernel while they wait: what they compute then is a pipe's reading.
    assert all(row["idle_cpu"] < 0.05 for row in well)


def test_turns_are_blocks_of_the_same_rounds(tmp_path):
    out = tmp_path / "rows.csv"
    done = bench(*BATON, "--setting", "do=nothing,print", "--repeats", "2", "--out", str(out))
    assert done.returncode == 0, done.stderr
    times = files.read_steps(files.steps_path(out))
    assert [len(one["block_ns"]) for one in times] == [24] * 4
    fleets = {(row["repeat"], row["fleet"]) for row in files.read(out)}
    assert len(fleets) == 2
    assert "smallest difference of throughput" in done.stdout


def test_an_interrupt_ends_all_of_a_fleet(tmp_path):
    out = tmp_path / "rows.csv"
    asked = ("--timeout", "100", "--setting", "do=nothing,hang")
    process = start(*BATON, *asked, "--out", str(out))
    until(process, "2 cells")
    while not (workers := workers_of(process.pid)):
        assert process.poll() is None
    ends = [os.pidfd_open(one) for one in workers]
    os.kill(process.pid, signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert {row["status"] for row in files.read(out)} == {"interrupted"}
    assert len(files.read(out)) == 2
    for one in ends:
        os.close(one)
    assert not workers_of(process.pid)
