"""The gate sees a mistake of each kind that ports of a model really make."""

from __future__ import annotations

import json

import pytest

from bench import envs
from bench.rows import files
from tests.harness import bench, main

BROKEN = {
    "cnn": {
        "nothing": None,
        "bn_eps": "logits off by",
        "bn_momentum": "logits after 5 steps off by",
        "asymmetric_padding": "logits off by",
        "summed_loss": "the loss of step 1 off by",
    },
    "transformer": {
        "nothing": None,
        "tanh_gelu": "logits off by",
        "transposed_dense": "logits off by",
        "coupled_decay": "a loss of steps 2 to 5 off by",
        "summed_loss": "the loss of step 1 off by",
    },
    "llm": {
        "nothing": None,
        "adjacent_pairs": "logits off by",
        "heads_by_turns": "logits off by",
        "norm_eps": "logits off by",
    },
    "lora": {
        "nothing": None,
        "lora_scale": "a loss of steps 2 to 5 off by",
        "no_adapter_of_keys": "a loss of steps 2 to 5 off by",
        "nothing_frozen": "frozen weights instead of",
        "decayed": "the frozen weights changed",
    },
    "generate": {
        "nothing": None,
        "place_behind": "of prompt",
        "cache_shifted": "of prompt",
        "sees_empty_room": "of prompt",
        "prompts_reversed": "logits off by",
    },
}


def planted(workload: str) -> tuple[str, ...]:
    """The options that plant each mistake of a workload, one cell each."""
    return ("--workload", workload, "--setting", "break=" + ",".join(BROKEN[workload]))


def test_a_row_that_failed_the_gate_has_no_speed(tmp_path):
    python = envs.ensure("torch", "cpu", log=print).python
    out = tmp_path / "broken.csv"
    done = bench(*planted("cnn"), "--out", str(out), backend="broken_torch", python=str(python))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["cell_id"].rpartition("=")[2]: row for row in files.read(out)}
    judged("cnn", rows)
    assert {name for name, row in rows.items() if row["samples_per_s"]} == {"nothing"}


@pytest.mark.parametrize("workload", [name for name in BROKEN if name != "cnn"])
def test_each_planted_mistake_fails_the_gate(workload):
    python = envs.ensure("torch", "cpu", log=print).python
    asked = ("--backend", "broken_torch", "--size", "tiny", "--device", "cpu", "--threads", "1")
    # All of the reference's prompts: at batch 1 they cannot be in the wrong order.
    batch = ("--batch", "8") if workload == "generate" else ()
    found = main(
        *("parity", *asked, *planted(workload), *batch),
        *("--python", f"broken_torch={python}", "--json"),
    )
    lines = [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]
    assert lines, found.stderr
    judged(workload, {one["cell_id"].rpartition("=")[2]: one for one in lines})


def judged(workload: str, rows: dict[str, dict]) -> None:
    assert list(rows) == list(BROKEN[workload])
    for mistake, reason in BROKEN[workload].items():
        row = rows[mistake]
        if reason is None:
            assert (row["status"], row["parity"]) == ("ok", "passed"), row["reason"]
        else:
            assert (row["status"], row["parity"]) == ("parity_failed", "failed"), mistake
            assert reason in row["reason"], mistake
