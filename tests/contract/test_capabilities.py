"""What the README says that a backend can do is so here: each question is asked anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import readme
from bench.capabilities import CAPABILITIES
from bench.rows import files
from bench.rows.schema import Row
from tests.contract.asking import ROOT, python, selected

ELSEWHERE = {"lightning": ("dynamic-shapes",), "deepspeed": ("dynamic-shapes", "data-parallel")}
"""What is asked of another backend already, to save two minutes: torch's own function; and ZeRO's
first stage, whose launcher and engine are the third's."""


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
    asked = ["--backend", backend, "--workload", "capability", "--size", "tiny", "--device", "cpu"]
    asked += ["--capability", ",".join(names)]
    own = ["--python", f"{backend}={python(backend)}", "--repeats", "1", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "bench", "run", *asked, *own],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 3), done.stderr
    here = {row["capability"]: (row["status"], row["reason"]) for row in files.read(out)}
    known = committed(backend)
    assert set(here) == set(names)
    assert set(known) == set(CAPABILITIES)
    found = {name: (status, known[name]["status"]) for name, (status, _) in here.items()}
    assert {name: pair for name, pair in found.items() if pair[0] != pair[1]} == {}, here
