"""The log of a run: one object a line, in whatever state the disk is."""

from __future__ import annotations

import io
import json
import re
from types import SimpleNamespace

import pytest

from bench.child.launch import Ended, Log
from bench.errors import UsageError
from bench.rows import places
from bench.run import runlog, told
from bench.run.runlog import Subject, event, opened

KEYS = ["time", "level", "event", "run_id", "cell_id", "repeat", "role", "pid", "fields"]


def lines(csv):
    return [json.loads(line) for line in places.log_path(csv).read_text("ascii").splitlines()]


@pytest.fixture
def csv(tmp_path):
    return tmp_path / "x.csv"


def log(csv, *, run_id="r1", verbose=False, say=lambda _: None):
    return opened(csv, run_id=run_id, verbose=verbose, say=say)


def test_an_event_is_an_object_with_its_utc_time(csv):
    with log(csv):
        event("row", level=runlog.WARNING, about=Subject("a/b", 2, "train", 77), status="failed")
    (found,) = lines(csv)
    assert list(found) == KEYS
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.pop("time"))
    assert found == {
        "level": "warning",
        "event": "row",
        "run_id": "r1",
        "cell_id": "a/b",
        "repeat": 2,
        "role": "train",
        "pid": 77,
        "fields": {"status": "failed"},
    }


def test_each_event_is_on_disk_at_once_and_a_second_run_appends(csv):
    with log(csv):
        event("plan")
        assert [line["event"] for line in lines(csv)] == ["plan"]
    event("nobody listens")
    with log(csv):
        event("resumed")
    assert [line["event"] for line in lines(csv)] == ["plan", "resumed"]


def test_a_line_torn_by_a_kill_does_not_take_the_next_with_it(csv):
    places.log_path(csv).write_text('{"time": "2026')
    with log(csv):
        event("plan")
    torn, whole = places.log_path(csv).read_text().splitlines()
    assert (torn, json.loads(whole)["event"]) == ('{"time": "2026', "plan")


def test_two_runs_of_one_folder_have_a_log_each(tmp_path):
    for name in ("a", "b"):
        with log(tmp_path / f"{name}.csv", run_id=name):
            event("plan")
    for name in ("a", "b"):
        assert [line["run_id"] for line in lines(tmp_path / f"{name}.csv")] == [name]


@pytest.mark.parametrize(
    ("error", "level", "name"),
    [(KeyboardInterrupt(), "warning", "interrupted"), (UsageError("why"), "error", "stopped")],
)
def test_what_ends_a_run_is_logged_and_goes_on(csv, error, level, name):
    with pytest.raises(type(error)), log(csv):
        raise error
    assert [(line["level"], line["event"]) for line in lines(csv)] == [(level, name)]


def test_texts_of_others_stay_one_bounded_line_without_passwords(csv):
    evil = 'a\nb\x1b[31m"\u2028\ud800 https://me:secret@host/simple ' + "x" * 10_000
    with log(csv):
        event("install", text=evil, tail=[evil], rate=float("inf"))
    (fields,) = [line["fields"] for line in lines(csv)]
    assert fields["text"].startswith('a\nb\x1b[31m"\u2028\ud800 https://***@host/simple xxx')
    assert len(fields["text"]) == runlog.LONGEST
    assert fields["tail"] == [fields["text"]]
    assert fields["rate"] == "inf"


def test_a_log_that_cannot_be_written_is_said_once_and_the_run_goes_on(csv):
    places.log_path(csv).symlink_to("/dev/full")
    said = []
    with log(csv, say=said.append) as kept:
        event("plan")
        event("ended")
        places.logs_path(csv).write_text("in the folder's place")
        assert kept.keep("a/b", 1, "words") is None
    (line,) = said
    assert line.startswith(f"{places.log_path(csv)} cannot be written (")


def test_a_log_that_cannot_be_opened_is_said_once(csv):
    places.log_path(csv).mkdir()
    said = []
    with log(csv, say=said.append):
        event("plan")
    assert len(said) == 1


def test_what_workers_printed_is_kept_whole_under_a_name_that_fits(csv):
    with log(csv) as kept:
        short = kept.keep("a/b", 1, "wörds\x1b")
        long, other = (kept.keep("a/" + "b" * 400 + end, 1, "words") for end in "xy")
    assert short == "a_b-r1.log"
    assert (places.logs_path(csv) / short).read_text("utf-8") == "wörds\x1b"
    assert long != other
    assert {path.name for path in places.logs_path(csv).iterdir()} == {short, long, other}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("terminal", [True, False])
def test_verbose_is_the_same_for_people_and_never_tears_a_live_line(csv, monkeypatch, terminal):
    stderr, live = Terminal() if terminal else io.StringIO(), io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    with log(csv, verbose=True):
        monkeypatch.setattr("sys.stderr", live)  # as rich does while a live line is shown
        event("row", about=Subject("a/b", 1, "train", 7), reason="a\x1b\nb", tail=["c", "d"], no="")
    shown, other = (live, stderr) if terminal else (stderr, live)
    assert other.getvalue() == ""
    _, _, words = shown.getvalue().partition("Z ")
    assert words == "info row a/b repeat 1 train (process 7) reason=a b tail=c | d\n"


def printed(text):
    found = Log()
    found.add(text)
    return found


@pytest.mark.parametrize(
    ("text", "last"),
    [
        (b"", []),
        (b"\n \n\x1b\n", []),
        (b"one\ntwo\nthree\n\n \n", ["two", "three"]),
        (b"10 %\r100 %\rdone \x1b[0m\x07!", ["100 %", "done [0m !"]),
        (b"\xff" * 1000, ["\N{REPLACEMENT CHARACTER}" * 300]),
    ],
)
def test_the_last_lines_are_short_and_harmless(text, last):
    assert printed(text).last(2) == last


def worker(pid, text=b""):
    job = SimpleNamespace(role="train", cell=SimpleNamespace(id="torch/cnn"))
    return SimpleNamespace(pid=pid, job=job, log=printed(text), phase="run", peak_bytes=3 << 20)


def test_a_phase_is_told_once_and_an_end_with_its_reason(csv):
    one = told.Told(SimpleNamespace(cell=SimpleNamespace(id="torch/cnn"), repeat=1))
    with log(csv):
        first, second = worker(1, b"warning\n"), worker(2, b"Bus error\n")
        for name in ("warm_up", "run", "run", "run", "latency"):
            one.phase(first, name)
        one.ended(first, None)
        assert one.tail == []
        one.phase(second, "latency")
        one.ended(second, Ended("crashed", "run: signal 7"))
    found = [(line["pid"], line["event"], line["fields"].get("phase")) for line in lines(csv)]
    assert found == [
        *((1, "phase", "warm_up"), (1, "phase", "run"), (1, "phase", "latency")),
        *((1, "worker_ended", "run"), (2, "phase", "latency"), (2, "worker_ended", "run")),
    ]
    assert one.tail == ["Bus error"]
    assert (
        "".join(one.printed) == "== train torch/cnn\nwarning\n\n== train torch/cnn\nBus error\n\n"
    )


@pytest.mark.parametrize(
    ("reason", "tail", "expected"),
    [
        ("run: signal 7", [], "run: signal 7"),
        ("run: signal 7", ["x", "Bus error"], "run: signal 7; printed last: Bus error"),
        ("start: OSError: no file", ["OSError: no file"], "start: OSError: no file"),
        ("x" * 5000, ["Bus error"], "x" * 5000),
        (
            "no https://me:pw@host/a",
            ["git://t@h"],
            "no https://***@host/a; printed last: git://***@h",
        ),
    ],
)
def test_a_reason_quotes_what_it_does_not_say_yet_and_no_password(reason, tail, expected):
    assert told.reason_of(reason, tail) == expected
