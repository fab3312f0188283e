"""The workload ``capability`` on the fake backend: what is right passes, what is wrong is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.capabilities import CAPABILITIES
from bench.rows import files
from tests.harness import bench


def asked(out: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    done = bench("--workload", "capability", *arguments, "--out", str(out))
    assert "Traceback" not in done.stderr, done.stderr
    return {row["capability"]: row for row in files.read(out)}, done.stdout


@pytest.fixture(scope="module")
def all_of_them(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    return asked(tmp_path_factory.mktemp("capability") / "all.csv")


def test_every_question_is_a_row(all_of_them):
    rows, _ = all_of_them
    assert set(rows) == set(CAPABILITIES)
    answers = {name: (row["status"], row["reason"]) for name, row in rows.items()}
    assert answers.pop("dlpack") == ("unsupported", "the fake takes arrays and gives none")
    assert set(answers.values()) == {("ok", "")}


def test_what_was_found_stands_in_the_settings(all_of_them):
    found = {name: row["settings"].get("capability") for name, row in all_of_them[0].items()}
    assert found["checkpoint"]["error"] == 0
    assert len(found["checkpoint"]["resumed"]) == 2
    refused = "ValueError: this is not a state of mine"
    assert found["safe-load"] == {"executed": False, "pickles": ["state.pkl"], "refused": refused}
    assert found["dynamic-shapes"]["compiled_anew"] == 0
    assert found["safetensors"]["tensors"] > 10


def test_two_processes_share_the_references_batch(all_of_them):
    row = all_of_them[0]["data-parallel"]
    assert (row["world_size"], row["batch"], row["parity"]) == (2, 8, "passed")
    assert row["cell_id"].endswith("/b8/w2/data-parallel")
    assert all_of_them[0]["checkpoint"]["batch"] == 16


def test_the_table_names_the_questions(all_of_them):
    assert "capability safe-load" in all_of_them[1]


@pytest.mark.parametrize(
    ("do", "capability", "status", "words"),
    [
        ("forgets", "checkpoint", "failed", "losses after resuming differ by"),
        ("unpickles", "safe-load", "failed", "loading state.pkl by default ran the code in it"),
        ("reads_no_state", "safe-load", "failed", "the loader never read state.pkl"),
        ("recompiles", "dynamic-shapes", "unsupported", "3 more shapes were compiled anew 3 times"),
        ("wrong_shapes", "dynamic-shapes", "failed", "logits of other shapes off by"),
        ("whole", "sharding", "failed", "every device holds all parameters"),
        ("rank_fails", "data-parallel", "failed", "the second rank does not want to"),
        ("rank_dies", "sharding", "crashed", "exit code 1 without an answer"),
    ],
)
def test_what_is_wrong_is_found(tmp_path, do, capability, status, words):
    setting = ("--setting", f"do={do}", "--capability", capability)
    rows, _ = asked(tmp_path / "wrong.csv", *setting)
    assert rows[capability]["status"] == status
    assert words in rows[capability]["reason"]


def test_an_unknown_question_is_one_line(tmp_path):
    done = bench("--workload", "capability", "--capability", "telepathy", "--out", "x.csv")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "capability" in line
    assert "'telepathy'" in line
