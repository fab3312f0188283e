"""``bench calibrate`` from outside: identical and slowed workers of the fake backend take turns."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.rows import files
from tests.harness import environment


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    out = tmp_path_factory.mktemp("calibrate") / "rows.csv"
    command = [sys.executable, "-m", "bench", "calibrate", "--backend", "fake", "--device", "cpu"]
    command += ["--python", f"fake={sys.executable}", "--slow", "50", "--repeats", "3"]
    done = subprocess.run(
        [*command, "--out", str(out)],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    return done, out


def test_each_repeat_is_a_fleet_of_a_b_and_the_slowed(calibrated):
    done, out = calibrated
    assert done.returncode in (0, 1), done.stderr  # what is imagined depends on the machine
    rows = files.read(out)
    names = [row["cell_id"].rpartition("=")[2] for row in rows]
    assert sorted(names) == ["50"] * 3 + ["A"] * 3 + ["B"] * 3
    assert {row["status"] for row in rows} == {"ok"}
    assert len({row["fleet"] for row in rows}) == 3


def test_it_tells_what_it_found_of_each(calibrated):
    done, out = calibrated
    table = [
        line.split("|")[2:4] for line in done.stdout.splitlines() if line.startswith("| fake/")
    ]
    assert [slowed.strip() for slowed, _ in table] == ["0 %", "50 %"]
    assert all(measured.strip().endswith("%") for _, measured in table)
    assert done.stdout.splitlines()[-1] == f"results: {out}"
