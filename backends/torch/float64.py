"""The networks in float64, as the reference runs them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from backends.torch import models, recompute
from bench.contract import Batch
from bench.dims import AnyDims
from workloads import SizeSpec, batches

Arrays = dict[str, np.ndarray]

CHUNK = 64
"""Samples in one forward pass over many."""


def network(dims: AnyDims, values: Arrays) -> nn.Module:
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
    return [exact(value) for key, value in batch.items() if key != "label"]


def exact(value: np.ndarray) -> torch.Tensor:
    """Floats as float64, whole numbers as they are."""
    made = torch.from_numpy(value)
    return made.double() if made.is_floating_point() else made


def losses(
    spec: SizeSpec, net: nn.Module, train: Sequence[Batch], *, parts: int = 1
) -> list[float]:
    """The mean loss of each step before its update, each batch in ``parts`` forward passes.

    Recomputed: of the largest networks the activations would not fit into memory.
    """
    recompute.wrap(net)
    optimizer, criterion = _optimizer(spec, net), models.criterion(spec.dims)
    found = []
    for batch in train:
        net.train()
        optimizer.zero_grad()
        columns = [*inputs(batch), exact(batch["label"])]
        total = 0.0
        for *given, label in zip(*(column.chunk(parts) for column in columns), strict=True):
            loss = criterion(net(*given), label) / parts
            loss.backward()
            total += loss.item()
        optimizer.step()
        found.append(total)
    optimizer.zero_grad()
    return found


def _optimizer(spec: SizeSpec, net: nn.Module) -> torch.optim.Optimizer:
    """Not the adapter's own: the reference must not share its mistakes."""
    o = spec.optimizer
    if o.name == "sgd":
        return torch.optim.SGD(
            models.trained(net), lr=o.lr, momentum=o.momentum, weight_decay=o.weight_decay
        )
    return torch.optim.AdamW(
        models.trained(net),
        lr=o.lr,
        betas=(o.beta1, o.beta2),
        eps=o.eps,
        weight_decay=o.weight_decay,
    )
