"""What the README says that a backend can do is so here: each question is asked anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from backends.registry import BACKENDS
from bench.capabilities import CAPABILITIES, PROCESSES
from bench.readme import tables
from bench.rows import files
from bench.rows.schema import Row
from tests.contract.asking import ROOT, cell, run_tiny, selected
from tests.contract.conftest import Ask

ON_TWO = ("data-parallel", "checkpoint")
ELSEWHERE = dict.fromkeys((name for name in BACKENDS if BACKENDS[name].trains), ON_TWO)
"""What is asked elsewhere already, to save minutes: two devices that go on from a checkpoint
(parallel-checkpoint) do both of ON_TWO."""

TOGETHER = [
    name for name in CAPABILITIES if CAPABILITIES[name].world_size == len(PROCESSES[name]) == 1
]
"""These take one process, which may be one that has been asked other things."""

TORCHS = ("lightning", "deepspeed")
"""They answer these by PyTorch's own functions."""


def committed(backend: str) -> dict[str, Row]:
    rows = (row for row in tables.committed(ROOT / "results") if row["backend"] == backend)
    asked = sorted((row for row in rows if row["capability"]), key=lambda row: row["started_at"])
    return {row["capability"]: row for row in asked}


backends = pytest.mark.parametrize(
    "backend", [pytest.param(name, marks=pytest.mark.backend(name)) for name in selected()]
)


@backends
def test_every_answer_is_the_committed_one(backend: str, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "answers.csv", (*ELSEWHERE.get(backend, ()), *TOGETHER)
    names = [name for name in CAPABILITIES if name not in elsewhere]
    done = run_tiny(backend, "--workload", "capability", "--capability", ",".join(names), out=out)
    assert done.returncode in (0, 3), done.stderr
    here = {row["capability"]: (row["status"], row["reason"]) for row in files.read(out)}
    known = committed(backend)
    assert set(here) == set(names)
    assert set(known) == set(CAPABILITIES)
    found = {name: (status, known[name]["status"]) for name, (status, _) in here.items()}
    assert {name: pair for name, pair in found.items() if pair[0] != pair[1]} == {}, here


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        pytest.param(backend, name, marks=pytest.mark.backend(backend))
        for backend in selected()
        if backend not in TORCHS
        for name in TOGETHER
    ],
)
def test_an_answer_that_takes_one_process_is_the_committed_one(
    ask: Ask, backend: str, name: str
) -> None:
    reads = {} if BACKENDS[backend].trains else {"format": next(iter(BACKENDS[backend].formats))}
    asked = cell(backend, "transformer", capability=name, **reads)
    found = ask("capability", replace(asked, workload="capability", batch=16))
    assert found["status"] == committed(backend)[name]["status"], found
