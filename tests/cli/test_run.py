"""What a run prints and leaves, seen from outside, on the fake backend."""

from __future__ import annotations

import gzip
import json

import pytest

from bench.rows import files
from tests.harness import bench, main


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run.csv"
    return bench("--workload", "cnn,export", "--format", "native", "--out", str(out)), out


def test_it_prints_progress_a_table_and_where_the_csv_is(finished):
    done, out = finished
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("3 cells, ")
    assert lines[1].startswith("[1/3] fake cnn tiny fp32 eager: ok, ")
    assert "left)" in lines[1]
    assert lines[3].endswith("done)")
    assert "3 rows: 3 ok" in lines
    assert lines[-1] == f"results: {out}"
    assert "\x1b" not in done.stdout, "no colour where there is no terminal"


def test_each_planned_cell_is_a_row_that_reads_back(finished):
    rows = files.read(finished[1])
    assert [(row["workload"], row["model"]) for row in rows] == [
        ("cnn", "cnn"),
        ("export", "cnn"),
        ("export", "transformer"),
    ]
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["parity"] for row in rows} == {"passed"}
    assert rows[0]["env_lock"].startswith("packages:")
    assert rows[0]["energy_j"] is None, "not measured is empty, not zero"


def test_the_raw_times_lie_beside_the_csv(finished):
    rows = files.read(finished[1])
    with gzip.open(files.steps_path(finished[1]), "rt") as file:
        raw = [json.loads(line) for line in file]
    assert [line["cell_id"] for line in raw] == [row["cell_id"] for row in rows]
    assert len(raw[0]["block_ns"]) * raw[0]["block_steps"] == rows[0]["steps"]


def test_json_goes_alone_to_standard_output(tmp_path):
    out = tmp_path / "j.csv"
    done = bench("--workload", "cnn", "--out", str(out), "--json")
    value = json.loads(done.stdout)
    assert value["out"] == str(out)
    assert [row["status"] for row in value["rows"]] == ["ok"]
    assert "[1/1]" in done.stderr


def test_repeats_settings_and_modes_multiply_and_what_cannot_be_is_a_row(tmp_path):
    out = tmp_path / "grid.csv"
    done = bench(
        "--workload", "cnn", "--mode", "all", "--repeats", "2", "--precision", "fp32,int8",
        "--setting", "do=unsupported", "--out", str(out),
    )  # fmt: skip
    rows = files.read(out)
    assert len(rows) == 2 * 2 * 2
    assert {row["status"] for row in rows} == {"unsupported"}
    assert done.returncode == 3, "nothing was measured"
    assert sorted(row["repeat"] for row in rows) == [1] * 4 + [2] * 4


def test_strict_turns_a_failed_cell_into_exit_code_one(tmp_path):
    arguments = ("--workload", "cnn", "--setting", "do=exception,nothing")
    assert bench(*arguments, "--out", str(tmp_path / "a.csv")).returncode == 0
    assert bench(*arguments, "--out", str(tmp_path / "b.csv"), "--strict").returncode == 1


def test_a_setting_that_is_no_longer_in_force_is_said(tmp_path):
    """Keras on two devices lost its distribution to ``clear_session`` after the gate."""
    out = tmp_path / "undone.csv"
    bench("--workload", "cnn", "--setting", "do=nothing,undone", "--out", str(out))
    kept, lost = files.read(out)
    assert "changed_while_running" not in kept["settings"]
    assert lost["settings"]["changed_while_running"] == {"sharded": None}


def test_a_finished_file_has_nothing_to_resume(finished, tmp_path):
    before = finished[1].read_bytes()
    done = bench("--workload", "cnn,export", "--format", "native", "--resume", str(finished[1]))
    assert done.returncode == 0, done.stderr
    assert finished[1].read_bytes() == before


def test_a_warm_compile_cache_is_found_by_the_second_process(tmp_path):
    out = tmp_path / "warm.csv"
    done = bench(
        "--workload", "cnn", "--mode", "compiled", "--compile", "all", "--out", str(out),
        "--setting", "do=cache",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {row["compile_cache"]: row["settings"]["cache_was_filled"] for row in files.read(out)}
    assert found == {"cold": False, "warm": True}


def test_quality_is_trained_for_and_judged(tmp_path):
    out = tmp_path / "quality.csv"
    bench("--workload", "cnn", "--quality", "--out", str(out))
    (row,) = files.read(out)
    assert (row["status"], row["quality_steps"]) == ("ok", 184)
    assert 0 < row["accuracy"] <= 1


def test_a_target_is_trained_to_over_three_seeds_and_one_never_met_is_said(tmp_path):
    out = tmp_path / "target.csv"
    ways = ("--workload", "cnn", "--setting", "do=nothing,unteachable", "--out", str(out))
    done = bench(*ways, "--target", "0.5")
    rows = files.read(out)
    assert sorted(row["repeat"] for row in rows) == [1, 1, 2, 2, 3, 3]
    for row in rows:
        learns = row["settings"]["do"] == "nothing"
        assert row["target_accuracy"] == 0.5
        assert (row["target_found"] >= 0.5) == learns
        # Every 9 steps there is an evaluation, a twentieth of 184; the first step comes before.
        assert row["target_samples"] == ((1 + 9) * 32 if learns else None)
    assert "3 of 3" in done.stdout
    assert "never (best 0.000)" in done.stdout
    assert main("targets", str(out)).stdout.count("\n") == 4
