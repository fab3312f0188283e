"""Training at the workload's own rate really learns: held-out accuracy rises."""

from __future__ import annotations

import pytest

from bench import envs
from bench.rows import files
from tests.harness import bench


@pytest.mark.parametrize(
    ("model", "beyond"),
    # PyTorch reaches 0.93 of ten classes, and 0.99 of two; guessing gives 0.1 and 0.5.
    [("cnn", 0.8), ("transformer", 0.9)],
)
def test_held_out_accuracy_rises(model, beyond, tmp_path):
    python = envs.ensure("torch", "cpu", log=print).python
    out = tmp_path / "quality.csv"
    done = bench(
        "--workload", model, "--quality", "--out", str(out), backend="torch", python=str(python)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [row] = files.read(out)
    assert row["accuracy_start"] < 0.65
    assert row["accuracy"] > beyond
    assert row["quality_steps"] > 0
