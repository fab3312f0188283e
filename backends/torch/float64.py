"""The two networks in float64, as the reference runs them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from backends.torch import models
from bench.contract import Batch, Dims
from workloads import batches

Arrays = dict[str, np.ndarray]

CHUNK = 64
"""Samples in one forward pass over many."""


def network(dims: Dims, values: Arrays) -> nn.Module:
    net = models.make(dims).double()
    models.load_weights(net, values)
    return net.eval()


def over(net: nn.Module, model: str, data: batches.Data, *, split: str, count: int) -> np.ndarray:
    """Logits of the first ``count`` samples of a split, in evaluation mode."""
    pieces = []
    for start in range(0, count, CHUNK):
        rows = slice(start, min(start + CHUNK, count))
        part = {key: np.array(data[f"{split}.{key}"][rows]) for key in batches.KEYS[model]}
        pieces.append(logits(net, part))
    return np.concatenate(pieces)


def logits(net: nn.Module, batch: Batch) -> np.ndarray:
    net.eval()
    with torch.no_grad():
        return net(*inputs(batch)).numpy()


def inputs(batch: Batch) -> list[torch.Tensor]:
    given = [torch.from_numpy(value) for key, value in batch.items() if key != "label"]
    return [value.double() if value.is_floating_point() else value for value in given]
