"""The gate sees a mistake of each kind that ports of a model really make."""

from __future__ import annotations

import pytest

from bench import envs
from bench.rows import files
from tests.harness import bench

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


@pytest.fixture(scope="module", params=BROKEN)
def broken(request, tmp_path_factory) -> tuple[str, dict[str, dict]]:
    """The rows of one workload with each mistake planted, by mistake."""
    python = envs.ensure("torch", "cpu", log=print).python
    out = tmp_path_factory.mktemp(request.param) / "broken.csv"
    done = bench(
        "--workload",
        request.param,
        *(("--batch", "8") if request.param == "generate" else ()),  # all the reference's prompts
        "--setting",
        "break=" + ",".join(BROKEN[request.param]),
        "--out",
        str(out),
        backend="broken_torch",
        python=str(python),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["cell_id"].rpartition("=")[2]: row for row in files.read(out)}
    return request.param, rows


def test_each_planted_mistake_fails_the_gate(broken):
    workload, rows = broken
    assert list(rows) == list(BROKEN[workload])
    for mistake, reason in BROKEN[workload].items():
        row = rows[mistake]
        if reason is None:
            assert (row["status"], row["parity"]) == ("ok", "passed"), row["reason"]
        else:
            assert (row["status"], row["parity"]) == ("parity_failed", "failed"), mistake
            assert reason in row["reason"], mistake
            assert row["samples_per_s"] is None, "a row that failed the gate has no speed"
