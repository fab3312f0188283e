"""Our count of operations (workloads/flops.py) against the frameworks' own counters.

PyTorch's counts what ours does: whole windows, padding included. XLA's leaves the padding out, and
counts normalisations, activations and softmax, which ours does not.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import pytest

from bench.dims import CnnDims, Dims
from tests.contract.asking import ROOT, python, selected
from workloads import catalogue, flops

COUNTERS = Path(__file__).with_name("counters.py")
WITHIN = 0.02
BASE = [("cnn", "base"), ("transformer", "base"), ("decoder", "small"), ("lora", "small")]
LARGE = [("cnn", "large"), ("transformer", "large")]


def dims_of(model: str, size: str) -> Dims:
    """The sizes that GPUs run; two layers of encoder and decoder, for all are alike."""
    dims = catalogue.of_model(model, size).dims
    if isinstance(dims, CnnDims):
        return dims
    return dataclasses.replace(dims, layers=2, vocab=1000)


def counted(backend: str, networks: list[Dims], folder: Path) -> list[list[float]]:
    """Of each a forward pass and a training step, FLOP a sample, by the framework's counter."""
    file = folder / "dims.json"
    file.write_text(json.dumps([dataclasses.asdict(dims) for dims in networks]), encoding="utf-8")
    done = subprocess.run(
        [str(python(backend)), str(COUNTERS), backend, str(file)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: list[list[float]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def taps(side: int, kernel: int, stride: int) -> int:
    """Products of a one-dimensional convolution whose padding is half its kernel, padding apart."""
    pad = kernel // 2
    outputs = (side + 2 * pad - kernel) // stride + 1
    inside = [
        sum(0 <= at * stride - pad + tap < side for tap in range(kernel)) for at in range(outputs)
    ]
    return sum(inside)


def padding(dims: CnnDims) -> int:
    """FLOP of a forward pass that multiply nothing but padding: those of 7x7 and 3x3 windows."""
    side, total = dims.image, 0

    def add(side: int, kernel: int, stride: int, cin: int, cout: int) -> int:
        outputs = (side - 1) // stride + 1
        return ((outputs * kernel) ** 2 - taps(side, kernel, stride) ** 2) * cin * cout

    total += add(side, 7, 2, dims.channels, dims.widths[0])
    side = side // 4  # the stem's stride and its pooling
    for layer, (width, blocks) in enumerate(zip(dims.widths, dims.blocks, strict=True)):
        for block in range(blocks):
            stride = 2 if layer and not block else 1
            total += add(side, 3, stride, width, width)
            side = (side - 1) // stride + 1
    return 2 * total


needs_torch = pytest.mark.skipif("torch" not in selected(), reason="torch is not selected")
needs_jax = pytest.mark.skipif("jax" not in selected(), reason="jax is not selected")


@needs_torch
def test_torchs_counter_counts_the_same(tmp_path: Path) -> None:
    networks = [dims_of(model, size) for model, size in BASE + LARGE]
    for dims, (forward, training) in zip(
        networks, counted("torch", networks, tmp_path), strict=True
    ):
        assert forward == flops.per_sample(dims, training=False), dims
        # The first convolution's input has no gradient: one of three passes is a little shorter.
        ours = flops.per_sample(dims, training=True)
        assert training == pytest.approx(ours, rel=WITHIN), dims


@needs_jax
def test_xlas_cost_analysis_counts_the_same_but_padding(tmp_path: Path) -> None:
    networks = [dims_of(model, size) for model, size in BASE]
    for dims, (forward, training) in zip(networks, counted("jax", networks, tmp_path), strict=True):
        unseen = padding(dims) if isinstance(dims, CnnDims) else 0
        ours = flops.per_sample(dims, training=False) - unseen
        assert forward == pytest.approx(ours, rel=WITHIN), dims
        ours = flops.per_sample(dims, training=True) - 3 * unseen
        assert training == pytest.approx(ours, rel=WITHIN), dims
