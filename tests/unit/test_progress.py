"""What a user reads while a pilot runs; the seconds come from rows that the test makes up."""

from __future__ import annotations

import io
import threading
from types import SimpleNamespace

import pytest
from rich.console import Console

from bench import machine
from bench.grid import Task
from bench.run.progress import Progress, outcome
from tests.cells import cell


def task(estimate_s, refused=None, **changes):
    """Of the spec only the estimate is looked at."""
    return Task(cell(**changes), 1, SimpleNamespace(estimate_s=estimate_s), refused)


def ok(wall_s, rate=1234.567):
    return {"status": "ok", "samples_per_s": rate, "wall_s": wall_s}


class Screen:
    """What was printed, on a narrow screen."""

    def __init__(self, *, terminal):
        self.out = io.StringIO()
        self.console = Console(file=self.out, width=40, force_terminal=terminal)

    @property
    def lines(self):
        return self.out.getvalue().splitlines()


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.setattr(machine, "device_name", {"cpu": "Abacus (2 CPUs)"}.get)
    return Screen(terminal=False)


def test_a_run_in_plain_lines(plain):
    tasks = [
        task(30.0),
        task(0.0, "no lock", backend="jax"),
        task(90.0, workload="export", format="onnx"),
    ]
    progress = Progress(plain.console, tasks)
    rows = [
        ok(60.0),
        {"status": "unsupported", "reason": "there is no lock", "wall_s": 0.0},
        {"status": "timeout", "reason": "run: no answer", "wall_s": 200.4},
    ]
    for each, row in zip(tasks, rows, strict=True):
        progress.start(each)
        progress.phase("run")
        progress.finish(each, row)
    progress.close()
    assert plain.lines == [
        # 30 + 90 s
        "3 cells, 2 threads, Abacus (2 CPUs), about 2 min left (first installations not counted)",
        # The first took twice its estimate, so 2 x 90 = 180 s are left; also after the refused one.
        "[1/3] torch cnn tiny fp32 eager: ok, 1235 samples/s (60 s; about 3 min left)",
        "[2/3] jax cnn tiny fp32 eager: unsupported: there is no lock (0 s; about 3 min left)",
        "[3/3] torch export cnn onnx tiny fp32: timeout: run: no answer (200 s; done)",
    ]


@pytest.mark.parametrize(
    ("estimates", "walls", "left"),
    [
        ([40.0, 19.4], [], "about 59 s left"),  # 59.4
        ([40.0, 20.0], [], "about 1 min left"),  # 60
        ([40.0, 50.0, 60.0], [], "about 2 min left"),  # 150 s are 2.5 min, rounded to even
        ([10.0, 10.0, 30.0], [5.0], "about 20 s left"),  # half of what was promised: 40 / 2
        ([10.0, 10.0, 30.0], [5.0, 35.0], "about 1 min left"),  # 40 s instead of 20: 30 x 2
        ([10.0, 10.0], [0.0], "about 1 s left"),  # never none while something is left
        ([10.0, 600.0], [12.0], "about 12 min left"),  # 600 x 1.2 = 720 s
    ],
)
def test_the_estimate_learns_from_finished_cells(plain, estimates, walls, left):
    tasks = [task(estimate) for estimate in estimates]
    progress = Progress(plain.console, tasks)
    for each, wall_s in zip(tasks, walls, strict=False):
        progress.start(each)
        progress.finish(each, ok(wall_s))
    assert progress.remaining() == left


def test_a_refused_cell_promises_nothing_and_teaches_nothing(plain):
    tasks = [task(500.0, "no lock"), task(30.0)]
    progress = Progress(plain.console, tasks)
    assert progress.remaining() == "about 30 s left"
    progress.start(tasks[0])
    progress.finish(tasks[0], {"status": "unsupported", "reason": "no lock", "wall_s": 0.0})
    assert progress.remaining() == "about 30 s left"


def test_a_phase_prints_nothing_where_lines_stay(plain):
    threads = threading.enumerate()
    progress = Progress(plain.console, [task(10.0)])
    before = plain.out.getvalue()
    progress.start(task(10.0))
    progress.phase("warm_up")
    assert threading.enumerate() == threads  # nothing draws while a worker measures
    progress.close()
    assert plain.out.getvalue() == before


def test_nothing_to_run_prints_nothing(plain):
    Progress(plain.console, []).close()
    assert plain.lines == []


@pytest.mark.parametrize(
    "text",
    [
        "conv.cc:100: [red]bad[/red] shape",
        "a:warning:b [1/2] [bold",
        "100 % of 'names' at 0x7f, True",
        "x" * 300,
    ],
)
@pytest.mark.parametrize("terminal", [False, True])
def test_a_text_is_printed_as_it_is(text, terminal):
    screen = Screen(terminal=terminal)
    progress = Progress(screen.console, [])
    progress.note(text)
    progress.close()
    assert text in screen.out.getvalue()


def test_a_terminal_shows_the_phase(plain):
    screen = Screen(terminal=True)
    screen.console.width = 100
    progress = Progress(screen.console, [task(10.0)])
    progress.start(task(10.0))
    progress.phase("conv.cc:100: [b]")
    progress.close()
    shown = "[1/1] torch cnn tiny fp32 eager: conv.cc:100: [b], about 10 s left"
    assert shown in screen.out.getvalue()


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "torch cnn tiny fp32 eager"),
        ({"mode": "compiled", "precision": "bf16"}, "torch cnn tiny bf16 compiled"),
        ({"workload": "export", "format": "native"}, "torch export cnn native tiny fp32"),
        (
            {"workload": "export", "model": "transformer", "format": "onnx"},
            "torch export transformer onnx tiny fp32",
        ),
    ],
)
def test_a_cell_is_named_by_what_tells_it_apart(plain, changes, name):
    progress = Progress(plain.console, [])
    progress.start(task(1.0, **changes))
    assert progress.current == name


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"status": "ok", "samples_per_s": 1234.567}, "ok, 1235 samples/s"),
        ({"status": "ok", "infer_samples_per_s": 0.012345}, "ok, 0.01235 samples/s"),
        ({"status": "ok"}, "ok"),
        ({"status": "oom", "reason": "run: grew"}, "oom: run: grew"),
        (
            {"status": "failed", "reason": "finish: KeyError", "samples_per_s": 5.0},
            "failed: finish: KeyError",
        ),
    ],
)
def test_a_row_in_a_few_words(row, words):
    assert outcome(row) == words


def test_an_answer_that_came_at_once_does_not_shorten_the_estimate(plain):
    tasks = [task(30.0), task(30.0)]
    progress = Progress(plain.console, tasks)
    progress.start(tasks[0])
    progress.finish(tasks[0], {"status": "unsupported", "reason": "it only infers", "wall_s": 0.3})
    assert progress.remaining() == "about 30 s left"
