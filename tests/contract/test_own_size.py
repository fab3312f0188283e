"""A size of the user's own: every backend computes what the reference made for it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backends.registry import BACKENDS
from bench.rows import files
from tests.contract.asking import python, run_tiny, selected

SPEC = """
modes = ["default"]

[size.odd]
model = "cnn"
batch = 6
gate_batch = 4
steps_min = 1
measure_s = 0.1
warmup_cap = 1
train_batches = 5

[size.odd.dims]
image = 40
channels = 1
classes = 3
stem = "7x7"
widths = [8, 24]
blocks = [1, 2]
bottleneck = true

[size.uneven]
model = "transformer"
batch = 6
gate_batch = 4
steps_min = 1
measure_s = 0.1
warmup_cap = 1
train_batches = 5

[size.uneven.dims]
vocab = 301
positions = 40
types = 3
layers = 1
width = 48
heads = 6
ffn = 100
classes = 5
sequence = 24
"""

TRAINING = [name for name in BACKENDS if BACKENDS[name].trains]
PAIRS: list[Any] = [
    pytest.param(name, ("cnn", "transformer")[TRAINING.index(name) % 2])
    for name in selected()
    if name in TRAINING
]
"""One model each: what a shape in an adapter's code would break is shared by both."""


@pytest.mark.parametrize(("backend", "model"), PAIRS)
def test_a_size_of_the_users_own_passes_its_own_gate(
    backend: str, model: str, tmp_path: Path
) -> None:
    spec, out = tmp_path / "pilot.toml", tmp_path / "own.csv"
    spec.write_text(SPEC, encoding="utf-8")
    size = {"cnn": "odd", "transformer": "uneven"}[model]
    asked = ["--spec", str(spec), "--workload", model, "--size", size]
    done = run_tiny(backend, *asked, "--python", f"torch={python('torch')}", out=out)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = files.read(out)
    assert (row["status"], row["parity"]) == ("ok", "passed"), row["reason"]
    assert (row["size"], row["batch"]) == (size, 6)
    assert "/spec=" in row["cell_id"]
