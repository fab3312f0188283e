"""A device that is not there, or whose library does not answer: a row with its words, and soon."""

from __future__ import annotations

import time

import pytest

from bench.rows import files
from tests.harness import bench

CUDA = ("--workload", "cnn", "--device", "cuda")


@pytest.mark.parametrize(
    ("has", "said"),
    [
        ("nothing", "fake finds no cuda here: the fake driver has no cuda"),
        ("exception", "fake finds no cuda here: RuntimeError: a plain failure"),
        ("segfault", "fake finds no cuda here: devices: signal 11 (SIGSEGV)"),
    ],
)
def test_a_device_that_is_absent_is_unsupported_in_the_frameworks_words(tmp_path, has, said):
    out = tmp_path / "rows.csv"
    done = bench(*CUDA, "--setting", f"has={has}", "--out", str(out))
    assert done.returncode == 3, done.stderr  # nothing was measured
    (row,) = files.read(out)
    assert row["status"] == "unsupported"
    assert row["reason"].startswith(said)


def test_a_library_that_never_answers_costs_its_deadline_once(tmp_path):
    out = tmp_path / "rows.csv"
    started = time.monotonic()
    done = bench(
        *CUDA, "--setting", "has=hang", "--timeout", "3", "--repeats", "4", "--out", str(out)
    )
    assert done.returncode == 3, done.stderr
    rows = files.read(out)
    assert [row["status"] for row in rows] == ["unsupported"] * 4
    assert {row["reason"] for row in rows} == {
        "fake finds no cuda here: it did not answer within 3 s"
    }
    assert time.monotonic() - started < 600  # as long as asking is not without an end


def test_a_device_whose_driver_nobody_can_read_is_measured_and_says_so(tmp_path):
    out = tmp_path / "rows.csv"
    done = bench(*CUDA, "--setting", "has=cuda", "--out", str(out))
    assert done.returncode == 0, done.stderr
    (row,) = files.read(out)
    assert (row["status"], row["device"]) == ("ok", "cuda")
    assert row["device_name"] == "Fake 9000"  # the framework's own words, for nobody else's
    assert row["energy_j"] is None
    assert "unread" in row["accelerators"][0]


def test_an_index_of_what_is_no_kind_of_device_names_the_mend():
    done = bench("--device", "cpu:1")
    assert done.returncode == 2
    assert done.stderr == (
        "bench: --device cpu:1: write KIND:INDEX or KIND:UUID, several with +, such as cuda:0+1;"
        " the kinds are cuda, rocm, tpu\n"
    )
