"""``bench run --find-max-batch`` from outside: trials, what is found, and its measurement."""

from __future__ import annotations

import pytest

from bench.compare import frame
from bench.rows import files
from tests.harness import bench

SEARCH = ("--workload", "cnn", "--find-max-batch", "--strict")


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    out = tmp_path_factory.mktemp("search") / "rows.csv"
    return bench(*SEARCH, "--setting", "room=40", "--out", str(out)), out


def test_trials_are_rows_and_the_batch_that_was_found_is_measured(searched):
    done, out = searched
    assert done.returncode == 0, done.stdout + done.stderr  # running out of memory is an answer
    rows = files.read(out)
    assert [(row["batch"], row["status"], row["trial"]) for row in rows] == [
        (32, "ok", "batch"),
        (64, "oom", "batch"),
        (48, "oom", "batch"),
        (40, "ok", "batch"),
        (40, "ok", ""),
    ]
    assert [row["samples_per_s"] is not None for row in rows] == [False] * 4 + [True]
    assert all(row["parity"] == "passed" for row in rows if row["status"] == "ok")
    assert "b64" in rows[1]["cell_id"]
    assert "largest batch: 40 (oom at 48): fake cnn tiny fp32 eager out-of-box" in done.stdout


def test_only_the_measured_row_is_compared_with_others(searched):
    assert list(frame.read([searched[1]])["trial"]) == [""]


def test_a_search_that_was_cut_goes_on(searched, tmp_path):
    lines = searched[1].read_text().splitlines(keepends=True)
    out = tmp_path / "rows.csv"
    out.write_text("".join(lines[:4]))  # killed before the last trial
    done = bench(*SEARCH, "--setting", "room=40", "--resume", str(out))
    assert done.returncode == 0, done.stderr
    assert [row["batch"] for row in files.read(out)] == [32, 64, 48, 40, 40]


def test_what_fails_for_another_reason_ends_the_search_and_says_so(tmp_path):
    out = tmp_path / "rows.csv"
    done = bench(*SEARCH, "--setting", "do=exception", "--out", str(out))
    assert done.returncode == 3, done.stderr
    assert len(files.read(out)) == 1
    assert "largest batch: not known (batch 32: failed: start: RuntimeError: a plain" in done.stdout


def test_what_does_not_train_has_no_batch_to_be_found():
    done = bench("--workload", "export", "--find-max-batch")
    assert (done.returncode, done.stderr) == (
        2,
        "bench: --find-max-batch: none of these cells trains; choose cnn, transformer\n",
    )
