"""Training at the workload's own rate really learns: held-out accuracy rises."""

from __future__ import annotations

from bench import envs
from bench.rows import files
from tests.harness import bench


# PyTorch reaches 0.99 of two classes and 0.93 of ten; guessing gives 0.5 and 0.1.
def test_held_out_accuracy_rises(tmp_path):
    python = envs.ensure("torch", "cpu", log=print).python
    out = tmp_path / "quality.csv"
    done = bench(
        "--workload",
        "transformer",
        "--quality",
        "--out",
        str(out),
        backend="torch",
        python=str(python),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [row] = files.read(out)
    assert row["accuracy_start"] < 0.65
    assert row["accuracy"] > 0.9
    assert row["quality_steps"] > 0


def test_the_cnn_learns_ten_classes(tmp_path):
    python = envs.ensure("torch", "cpu", log=print).python
    out = tmp_path / "target.csv"
    how = ("--target", "0.8", "--repeats", "1", "--out", str(out))
    done = bench("--workload", "cnn", *how, backend="torch", python=str(python))
    assert done.returncode == 0, done.stdout + done.stderr
    [row] = files.read(out)
    assert row["target_found"] >= row["target_accuracy"] == 0.8
    assert row["target_s"] > 0
