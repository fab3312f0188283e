"""What the README says that a backend can do is so here: each question is asked anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.registry import BACKENDS
from bench import readme
from bench.capabilities import CAPABILITIES
from bench.rows import files
from bench.rows.schema import Row
from tests.contract.asking import ROOT, run_tiny, selected

ON_TWO = ("data-parallel", "checkpoint")
TORCHS = ("dynamic-shapes", "safetensors", "dlpack")
ELSEWHERE = {
    **dict.fromkeys((name for name in BACKENDS if BACKENDS[name].trains), ON_TWO),
    **dict.fromkeys(("lightning", "deepspeed"), (*ON_TWO, *TORCHS)),
}
"""What is asked elsewhere already, to save minutes: two devices that go on from a checkpoint
(parallel-checkpoint) do both of ON_TWO, and TORCHS are PyTorch's own functions."""


def committed(backend: str) -> dict[str, Row]:
    rows = (row for row in readme.committed(ROOT / "results") if row["backend"] == backend)
    asked = sorted((row for row in rows if row["capability"]), key=lambda row: row["started_at"])
    return {row["capability"]: row for row in asked}


@pytest.mark.parametrize(
    "backend", [pytest.param(name, marks=pytest.mark.backend(name)) for name in selected()]
)
def test_every_answer_is_the_committed_one(backend: str, tmp_path: Path) -> None:
    out = tmp_path / "answers.csv"
    names = [name for name in CAPABILITIES if name not in ELSEWHERE.get(backend, ())]
    done = run_tiny(backend, "--workload", "capability", "--capability", ",".join(names), out=out)
    assert done.returncode in (0, 3), done.stderr
    here = {row["capability"]: (row["status"], row["reason"]) for row in files.read(out)}
    known = committed(backend)
    assert set(here) == set(names)
    assert set(known) == set(CAPABILITIES)
    found = {name: (status, known[name]["status"]) for name, (status, _) in here.items()}
    assert {name: pair for name, pair in found.items() if pair[0] != pair[1]} == {}, here
