"""The two networks in float64, as the reference runs them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from backends.torch import models, recompute
from bench.contract import Batch, Dims, Optimizer
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


def train(net: nn.Module, asked: Optimizer, given: list[Batch]) -> list[float]:
    """One step on each batch; the losses before their updates. Gradients and moments are let go.

    Recomputed: of the largest networks the activations would not fit into memory.
    """
    recompute.wrap(net)
    update = optimizer(asked, net)
    losses = []
    for batch in given:
        net.train()
        update.zero_grad()
        loss = F.cross_entropy(net(*inputs(batch)), torch.from_numpy(batch["label"]))
        loss.backward()
        update.step()
        losses.append(loss.item())
    update.zero_grad()
    return losses


def optimizer(o: Optimizer, net: nn.Module) -> torch.optim.Optimizer:
    """Not the adapter's own: the reference must not share its mistakes."""
    if o.name == "sgd":
        return torch.optim.SGD(
            net.parameters(), lr=o.lr, momentum=o.momentum, weight_decay=o.weight_decay
        )
    return torch.optim.AdamW(
        net.parameters(), lr=o.lr, betas=(o.beta1, o.beta2), eps=o.eps, weight_decay=o.weight_decay
    )
