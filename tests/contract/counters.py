"""Counts a network's operations with its framework's own counter, under its own interpreter.

``python counters.py BACKEND DIMS.json`` prints a JSON list, of each network in the file the FLOP a
sample of a forward pass and of a training step.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from bench.contract import INPUTS
from bench.dims import CnnDims, DecoderDims, Dims, dims_of
from workloads import synthetic, weights

BATCH = 2


def model_of(dims: Dims) -> str:
    if isinstance(dims, CnnDims):
        return "cnn"
    if isinstance(dims, DecoderDims):
        return "lora" if dims.lora_rank else "decoder"
    return "transformer"


def samples(dims: Dims) -> dict[str, np.ndarray]:
    data = synthetic.noise(dims)
    return {key.partition(".")[2]: data[key][:BATCH] for key in data if key.startswith("train.")}


def torch_counts(dims: Dims) -> list[float]:
    """FlopCounterMode over real operators, which on the meta device compute nothing."""
    import torch  # each counter runs where only its own framework is
    from torch.utils.flop_counter import FlopCounterMode

    from backends.torch import models

    given = samples(dims)
    network = models.make(dims).to("meta")
    inputs = [torch.from_numpy(given[name]).to("meta") for name in INPUTS[model_of(dims)]]
    label = torch.from_numpy(given["label"]).to("meta")
    forward, training = FlopCounterMode(display=False), FlopCounterMode(display=False)
    with forward, torch.no_grad():
        network.eval()(*inputs)
    with training:
        models.loss(network.train()(*inputs), label).backward()
    return [counter.get_total_flops() / BATCH for counter in (forward, training)]


def jax_counts(dims: Dims) -> list[float]:
    """XLA's cost analysis of the programs as they were traced."""
    import jax

    from backends.jax import models
    from backends.jax.programs import place
    from backends.jax.split import Split, arrays

    given = samples(dims)
    cell: Any = SimpleNamespace(model=model_of(dims), dims=dims)
    model = models.make(dims, weights.seeded(dims, name="counted"))
    split, state = Split(model), arrays(model)
    inputs, label = place(cell, given), jax.numpy.array(given["label"].astype(np.int32))
    forward = jax.jit(split.evaluate).lower(state, inputs)
    training = jax.jit(jax.grad(split.train, has_aux=True)).lower(*state, inputs, label)
    return [program.cost_analysis()["flops"] / BATCH for program in (forward, training)]


COUNTERS = {"torch": torch_counts, "jax": jax_counts}


def main(argv: list[str]) -> None:
    networks = json.loads(Path(argv[1]).read_text(encoding="utf-8"))
    counts = [COUNTERS[argv[0]](dims_of(dims)) for dims in networks]
    sys.stdout.write("\n" + json.dumps(counts) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
