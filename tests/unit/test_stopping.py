"""A pilot stops when its ratios are known or its time is spent, also after it was resumed."""

from __future__ import annotations

import pytest

from backends.registry import BACKENDS
from bench.grid import Request, plan
from bench.rows.files import ResultFile
from bench.stopping import Target
from tests.comparing import row


@pytest.fixture
def tasks():
    request = Request(["torch", "jax"], ["cnn"], ["small"], ["cpu"], batches=(64,))
    return plan(request, entry=BACKENDS.__getitem__)


def measured(tmp_path, tasks, *, repeats, spread, wall_s=20.0) -> ResultFile:
    """Rates that lie ``spread`` apart in turns."""
    file = ResultFile.create(tmp_path / "rows.csv")
    for task in tasks:
        for repeat in range(1, repeats + 1):
            factor = 1 + spread * (repeat % 2)
            about = {"cell_id": task.cell.id, "backend": task.cell.backend, "mode": task.cell.mode}
            file.append(row(factor, repeat=repeat, wall_s=wall_s, **about))
    return file


def test_known_ratios_end_it(tmp_path, tasks):
    again, said = Target(0.03, 1e9).next(tasks, measured(tmp_path, tasks, repeats=8, spread=0.001))
    assert again == []
    assert said == "1 of 1 ratios are known to 3.0%"


def test_wide_ones_are_repeated(tmp_path, tasks):
    again, _ = Target(0.03, 1e9).next(tasks, measured(tmp_path, tasks, repeats=8, spread=0.3))
    assert [task.repeat for task in again] == [9, 9]


def test_what_a_run_took_before_it_was_resumed_counts(tmp_path, tasks):
    """2 cells x 3 repeats x 20 s = 120 s; a fourth would make it 160 s."""
    file = measured(tmp_path, tasks, repeats=3, spread=0.3)
    assert Target(0.03, 161).next(tasks, file)[0]
    again, said = Target(0.03, 159).next(tasks, file)
    assert again == []
    assert "another repeat would pass" in said
