"""``bench submit`` and ``bench collect`` on this machine, in the background, from outside."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from bench import cli
from bench.cluster import share
from bench.errors import EXIT_USAGE, UsageError
from bench.rows import files
from tests.harness import ROOT, environment, main

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


def container(folder: Path, of: int) -> dict:
    """Of the pods of the submission ``of``."""
    _, job = yaml.safe_load_all((folder / "manifests" / f"job-{of}.yaml").read_text())
    return job["spec"]["template"]["spec"]["containers"][0]


def index(folder: Path, number: int) -> subprocess.CompletedProcess[str]:
    """What a pod of the first submission does: its command, with its variables."""
    pod = container(folder, 1)
    command = [one.replace("$$", "$") for one in pod["command"]]
    scratch = folder.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    env = {one["name"]: one["value"].replace("/scratch", str(scratch)) for one in pod["env"]}
    # The fake backend would be in the image, as the harness and its environments are.
    image = {"PYTHONPATH": environment()["PYTHONPATH"], "BENCH_ENVS": str(scratch / "none")}
    return subprocess.run(
        [sys.executable, *command[1:]],
        cwd=ROOT,
        env={**environment(), **env, **image, share.INDEX: str(number)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_share_as_an_index_of_kubernetes_runs_it(tmp_path, capsys):
    folder, out = tmp_path / "$(pi) lot", tmp_path / "rows.csv"
    run = (*CELLS, "--workload", "cnn,export", "--threads", "1")
    place = ("--engine", "kubernetes", "--dry-run", "--folder", str(folder))
    begun = main("submit", *place, "--", *run, "--python", f"fake={sys.executable}")
    assert begun.returncode == 0, begun.stderr
    assert "kubectl apply" in begun.stdout
    wrong = index(folder, 3)  # of three, from 0 on
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (EXIT_USAGE, 1)
    done = index(folder, 1)
    assert done.returncode == 0, done.stderr
    collect = ["collect", str(folder), "--out", str(out), "--json"]
    assert cli.main(collect) == 1
    missing = json.loads(capsys.readouterr().out)["missing"]
    assert [(row["workload"], row["status"]) for row in files.read(out)] == [("export", "ok")]
    assert [one["why"].partition(": ")[2] for one in missing] == ["kubectl knows"] * 2
    # What is missing, and no more, in another job.
    again = main("submit", "--resume", str(folder), "--dry-run")
    assert "2 rows to come, in 2 shares" in again.stdout, again.stderr
    shares = [container(folder, one)["command"][5:] for one in (1, 2)]
    assert shares[1] == [shares[0][0], shares[0][2]]
    assert main(*collect, "--ended").returncode == 1
    assert [row["status"] for row in files.read(out)] == ["crashed", "ok", "crashed"]
    assert cli.main([*collect, "--cancel"]) == EXIT_USAGE
    assert "end it by hand: kubectl delete job bench-" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["", "2", "-1", "x", "1.0"])
def test_an_index_that_no_share_has_is_wrong_usage(monkeypatch, number):
    monkeypatch.setenv(share.INDEX, number)
    with pytest.raises(UsageError, match=f"JOB_COMPLETION_INDEX is '{number}'"):
        share._mine(["--index", "a", "b"])
    monkeypatch.setenv(share.INDEX, "1")
    assert share._mine(["--index", "a", "b"]) == ["b"]
