"""``bench submit`` and ``bench collect`` on this machine, in the background, from outside."""

from __future__ import annotations

import json
import sys
import time

from bench.rows import files
from tests.harness import main

CELLS = ("--backend", "fake", "--size", "tiny", "--device", "cpu", "--repeats", "1")


def test_a_pilot_in_the_background(tmp_path):
    folder, out = tmp_path / "pilot", tmp_path / "rows.csv"
    run = (*CELLS, "--workload", "cnn,export", "--threads", "1")
    place = ("--engine", "local", "--folder", str(folder), "--json")
    begun = main("submit", *place, "--", *run, "--python", f"fake={sys.executable}")
    assert begun.returncode == 0, begun.stderr
    jobs = json.loads(begun.stdout)["jobs"]
    assert len(jobs) == 3
    assert len(set(jobs.values())) == 1  # shares would disturb each other
    early = main("collect", str(folder), "--out", str(out))
    assert early.returncode in (1, 3)  # something is missing
    assert "missing: " in early.stdout
    done = main("collect", str(folder), "--out", str(out), "--follow", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["missing"] == []
    assert [row["status"] for row in files.read(out)] == ["ok"] * 3
    again = main("submit", *place, "--", *run, "--python", f"fake={sys.executable}")
    assert (again.returncode, "holds a pilot already" in again.stderr) == (2, True)
    # What was collected is a results file like any other.
    assert main("score", str(out), "--json").returncode == 0


def test_cancelled_here_and_resumed(tmp_path):
    folder, out = tmp_path / "pilot", tmp_path / "rows.csv"
    run = (*CELLS, "--workload", "cnn", "--setting", "do=nothing,hang", "--timeout", "15")
    fixed = ("--schedule", "sequential", "--threads", "1", "--python", f"fake={sys.executable}")
    begun = main("submit", "--folder", str(folder), "--", *run, *fixed)
    assert begun.returncode == 0, begun.stderr
    while not any(files.finished(path) for path in (folder / "rows").glob("*.csv")):
        time.sleep(0.1)
    main("collect", str(folder), "--out", str(out), "--cancel")
    done = main("collect", str(folder), "--out", str(out), "--follow")
    assert done.returncode == 1
    first, second = files.read(out)
    assert (first["status"], second["status"]) == ("ok", "interrupted")
    assert "the job was stopped by a signal" in second["reason"]
    assert main("submit", "--resume", str(folder)).returncode == 0
    done = main("collect", str(folder), "--out", str(out), "--follow")
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in files.read(out)] == ["ok", "timeout"]
