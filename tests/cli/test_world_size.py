"""Cells of two processes that train together, on the fake backend and its launcher."""

from __future__ import annotations

import json
import subprocess

import pytest

from bench.rows import files
from tests.harness import bench, command, environment, main


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("world") / "rows.csv"
    asked = ("--workload", "cnn", "--world-size", "1,2", "--threads", "1")
    done = bench(*asked, "--setting", "do=nothing,rank_lags", "--out", str(out))
    assert done.returncode == 0, done.stderr
    rows = files.read(out)
    return {(row["world_size"], row["cell_id"].rpartition("=")[2]): row for row in rows}, done, out


def test_two_processes_are_timed_as_one_cell(trained):
    row = trained[0][2, "nothing"]
    assert (row["status"], row["parity"], row["threads"]) == ("ok", "passed", 1)
    assert row["settings"]["batch_statistics"] == "of the whole batch"
    assert [one["rank"] for one in row["ranks"]] == [0, 1]
    assert all(one["peak_host_mib"] > 0 and one["step_ms"] > 0 for one in row["ranks"])
    assert row["allreduce_ms"] > 0


def test_the_cell_is_as_fast_as_its_slowest_process(trained):
    row = trained[0][2, "rank_lags"]
    first, second = (one["step_ms"] for one in row["ranks"])
    assert row["slowest_rank"] == 1
    assert first < second
    assert row["samples_per_s"] <= 1.01 * 2 * row["batch"] / second * 1e3


def test_one_process_has_no_columns_of_ranks(trained):
    row = trained[0][1, "nothing"]
    assert (row["ranks"], row["slowest_rank"], row["allreduce_ms"]) == (None, None, None)


def test_what_two_bring_is_printed_and_told_as_json(trained):
    _, done, out = trained
    assert "efficiency" in done.stdout
    told = main("scaling", str(out), "--json")
    found = json.loads(told.stdout)
    assert [one["world_size"] for one in found] == [2, 2]
    assert {one["slowest_rank"] for one in found} >= {1}


def test_results_of_one_device_have_nothing_to_tell(tmp_path):
    out = tmp_path / "one.csv"
    bench("--workload", "cnn", "--out", str(out))
    told = main("scaling", str(out))
    assert told.returncode == 3
    assert told.stdout == "no cell was measured on several devices and on one (--world-size 1,2)\n"


def test_two_machines_share_a_cell_and_find_the_same(tmp_path):
    outs = [tmp_path / "first.csv", tmp_path / "second.csv"]
    asked = ["--workload", "cnn", "--world-size", "4", "--threads", "1", "--repeats", "1"]
    asked += ["--nodes", "2", "--rendezvous", "first.example:29400"]
    asked += ["--setting", f"meet={tmp_path}", "--setting", "do=rank_lags"]
    machines = [
        subprocess.Popen(
            command(*asked, "--node-rank", str(rank), "--out", str(out)),
            # Their files meet in a folder, which is none of a worker's.
            env={**environment(), "BENCH_ISOLATION": "off"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank, out in enumerate(outs)
    ]
    said = [machine.communicate()[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    first, second = (files.read(out)[0] for out in outs)
    assert first["cell_id"].endswith("/nodes=2")
    assert [one["rank"] for one in first["ranks"]] == [0, 1, 2, 3]
    shared = ("cell_id", "ranks", "slowest_rank", "samples_per_s", "steps", "step_ms_p99")
    assert {name: first[name] for name in shared} == {name: second[name] for name in shared}
    assert first["slowest_rank"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--nodes", "2", "--repeats", "1"), "say where they meet, --rendezvous HOST:PORT"),
        (("--nodes", "2", "--repeats", "1", "--rendezvous", "h"), "--rendezvous HOST:PORT"),
        (("--nodes", "2", "--rendezvous", "h:1"), "say how many --repeats"),
        (
            ("--nodes", "2", "--rendezvous", "h:1", "--repeats", "1", "--node-rank", "2"),
            "--node-rank 2: it is 0 to 1 for --nodes 2",
        ),
        (("--node-rank", "1"), "--node-rank and --rendezvous go with --nodes N"),
    ],
)
def test_machines_that_could_not_meet_are_one_line(tmp_path, arguments, said):
    done = bench("--workload", "cnn", "--out", str(tmp_path / "x.csv"), *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert said in line
