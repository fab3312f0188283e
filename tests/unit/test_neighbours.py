"""Who else computed while a cell was timed: real processes, and books that are written here."""

from __future__ import annotations

import multiprocessing
import os
import time

import pytest

from bench import machine, memory
from bench.run import neighbours
from bench.run.neighbours import Neighbours
from tests.rows import ok_row


def compute(seconds: float) -> None:
    ends = time.process_time() + seconds
    while time.process_time() < ends:
        pass


def test_a_process_has_computed_what_it_says():
    worker = multiprocessing.get_context("fork").Process(target=compute, args=(0.3,))
    worker.start()
    while memory.computed_s(worker.pid) < 0.25:
        assert worker.is_alive()
    worker.kill()
    worker.join()
    assert memory.computed_s(worker.pid) == 0.0


BOOKS = """cpu  900 0 0 0 0 0 0 0 0 0
cpu0 {user} 10 {system} 99999 77 1 2 {steal} 5 0
cpu1 500000 0 0 0 0 0 0 0 0 0
intr 1 2 3
"""


@pytest.fixture
def books(tmp_path, monkeypatch):
    """A machine whose CPU 0 is looked at; time and what is computed are set by the test."""
    state = {"user": 0, "system": 0, "steal": 0, "now": 0.0, "own": 0.0, "ours": 0.0}
    monkeypatch.setattr(memory, "PROC", tmp_path)
    monkeypatch.setattr(neighbours, "TICK_S", 0.01)
    monkeypatch.setattr(time, "monotonic", lambda: state["now"])
    monkeypatch.setattr(time, "process_time", lambda: state["own"])
    monkeypatch.setattr(memory, "computed_s", lambda pid: state["ours"] if pid == 7 else 0.0)

    def pass_(**changes: float) -> None:
        for name, change in changes.items():
            state[name] += change
        (tmp_path / "stat").write_text(BOOKS.format(**state))

    pass_()
    return pass_


def test_what_others_computed_is_what_is_neither_the_cells_nor_the_harnesss(books):
    seen = Neighbours({0})
    with seen.watched([7]):
        books(user=150, system=50, steal=20, now=2.0, ours=1.3, own=0.1)
    books(user=700, now=9.0)  # between the turns
    with seen.watched([7]):
        books(user=100, now=2.0, ours=1.0)
    found = seen.columns()
    assert found == {"others_share": pytest.approx(0.15), "stolen_share": pytest.approx(0.05)}


def test_less_than_a_second_says_nothing(books):
    seen = Neighbours({0})
    with seen.watched([7]):
        books(user=99, now=0.99)
    assert seen.columns() == {}


def test_a_quiet_cell_is_not_disturbed_by_rounding(books):
    seen = Neighbours({0})
    with seen.watched([7]):
        books(user=199, now=2.0, ours=2.0)
    assert seen.columns() == {"others_share": 0.0, "stolen_share": 0.0}


def test_disturbed_rows_are_told_at_the_end():
    quiet = ok_row(others_share=0.02, stolen_share=0.01)
    robbed = ok_row(others_share=0.0, stolen_share=0.3)
    shared = ok_row(others_share=0.6, stolen_share=None)
    unknown = ok_row(others_share=None, stolen_share=None)
    on_gpu = ok_row(others_share=0.6, stolen_share=0.0) | {"device": "cuda"}
    assert neighbours.told([quiet, unknown, on_gpu]) == []
    [line] = neighbours.told([quiet, robbed, shared, unknown, on_gpu])
    said = "2 of 3 timed rows were disturbed: others had up to 60% of the CPUs meanwhile"
    assert line.startswith(said)


def test_on_this_machine_a_neighbour_is_seen():
    seen = Neighbours(machine.cpus())
    worker = multiprocessing.get_context("fork").Process(target=compute, args=(60.0,))
    worker.start()
    with seen.watched([os.getpid()]):
        time.sleep(1.1)
    worker.kill()
    worker.join()
    assert seen.columns()["others_share"] > 0
