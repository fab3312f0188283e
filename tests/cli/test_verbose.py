"""The log of a real run, and that nothing is written while a worker is timed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.rows import files
from bench.rows.places import log_path
from tests.harness import bench, command, environment

SPY = """
import logging, sys
from bench import cli
from bench.child import launch
asked = []
ask = launch.Child.ask
def spied(self, do, **how):
    asked.append(do)
    try:
        return ask(self, do, **how)
    finally:
        asked.clear()
launch.Child.ask = spied
class Watch(logging.Handler):
    def emit(self, record):
        if asked:
            raise RuntimeError(f"{record.msg} was logged during {asked}")
logging.getLogger("bench.run").addHandler(Watch())
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    out = tmp_path_factory.mktemp("verbose") / "x.csv"
    _, _, _, *arguments = command("--workload", "cnn", "--out", str(out), "--verbose")
    done = subprocess.run(
        [sys.executable, "-c", SPY, *arguments, "--setting", "do=nothing,exception,exit"],
        capture_output=True,
        text=True,
        env={**environment(), "SECRET_TOKEN": "swordfish"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done, out, [json.loads(line) for line in log_path(out).read_text().splitlines()]


def test_the_events_of_a_run_in_their_order(watched):
    _, out, events = watched
    worker = ["worker_started", "phase", "worker_ended", "row"]
    names = [one["event"] for one in events if one["fields"].get("phase", "start") == "start"]
    assert names == [
        *("plan", "data", "environment"),
        *("worker_started", "phase", "row"),  # its end was in the last phase
        *worker,
        *worker,
        "ended",
    ]
    phases = [one["fields"]["phase"] for one in events if one["event"] == "phase"]
    measured = ["start", "build", "gate", "probe", "warm_up", "run", "latency", "probe", "finish"]
    assert phases == [*measured, "start", "start"]
    (run_id,) = {one["run_id"] for one in events}
    assert run_id == files.read(out)[0]["run_id"]
    assert {one["role"] for one in events} == {"harness", "train"}


def test_a_failed_row_quotes_its_worker_and_names_the_file_with_the_rest(watched):
    _, out, events = watched
    _, failed, ended = (one["fields"] for one in events if one["event"] == "row")
    assert failed["tail"][0] == "Traceback (most recent call last):"
    assert failed["tail"][-2:] == ["RuntimeError: a plain failure", "with a second line"]
    assert "a plain failure" in (out.with_suffix(".logs") / failed["printed"]).read_text()
    assert ended["tail"] == []
    reasons = [row["reason"] for row in files.read(out)]
    assert reasons == ["", failed["reason"], ended["reason"]]
    assert failed["reason"] == (
        "start: RuntimeError: a plain failure; printed last: with a second line"
    )


def test_verbose_tells_the_same_on_standard_error(watched):
    done, _, events = watched
    told = [line.split(" ")[2] for line in done.stderr.splitlines()]
    assert told == [one["event"] for one in events]
    assert "[3/3] fake cnn tiny" in done.stdout
    assert "phase" not in done.stdout


def test_no_environment_variable_is_written_down(watched):
    done, out, _ = watched
    kept = [path.read_bytes() for path in out.parent.rglob("*") if path.is_file()]
    assert not any(b"swordfish" in content for content in (*kept, done.stderr.encode()))


def test_a_resumed_run_appends_to_its_log_and_a_full_disk_costs_no_row(tmp_path):
    out = tmp_path / "x.csv"
    ways = ("--workload", "cnn", "--setting", "do=unsupported")
    log_path(out).symlink_to("/dev/full")
    done = bench(*ways, "--out", str(out))
    assert done.stdout.count("cannot be written") == 1
    assert [row["status"] for row in files.read(out)] == ["unsupported"]
    log_path(out).unlink()
    bench(*ways, "--resume", str(out))
    events = [json.loads(line)["event"] for line in log_path(out).read_text().splitlines()]
    assert events == ["resumed", "plan", "ended"]


def test_a_run_that_never_began_leaves_no_log(tmp_path):
    out = tmp_path / "x.csv"
    done = bench("--workload", "cnn", "--out", str(out), python="/bin/false")
    assert done.returncode == 2, done.stderr
    assert list(tmp_path.iterdir()) == []
