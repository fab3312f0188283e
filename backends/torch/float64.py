"""The networks in float64, as the reference runs them."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Sequence
from pathlib import Path

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
    gc.collect()  # one before it hangs in the circles of its hooks, and two may not fit
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

    Made to fit into memory for the largest networks: activations are recomputed, AdamW's moments
    lie in files, and where there is one pass only each parameter is updated as soon as its gradient
    is there, which is then dropped (PyTorch's tutorial "How to save memory by fusing the optimizer
    step into the backward pass").
    """
    recompute.wrap(net)
    criterion = models.criterion(spec.dims)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        steps = _optimizers(spec, net, Path(folder))
        at_once = [_update_at_once(one, by) for one, by in steps.items() if parts == 1]
        for batch in train:
            net.train()
            columns = [*inputs(batch), exact(batch["label"])]
            total = 0.0
            for *given, label in zip(*(column.chunk(parts) for column in columns), strict=True):
                loss = criterion(net(*given), label) / parts
                loss.backward()
                total += loss.item()
            if not at_once:
                for optimizer in steps.values():
                    _update(optimizer)
            found.append(total)
        for handle in at_once:
            handle.remove()
    return found


def _update_at_once(
    parameter: nn.Parameter, optimizer: torch.optim.Optimizer
) -> torch.utils.hooks.RemovableHandle:
    return parameter.register_post_accumulate_grad_hook(lambda _parameter: _update(optimizer))


def _update(optimizer: torch.optim.Optimizer) -> None:
    optimizer.step()
    optimizer.zero_grad()


def _optimizers(
    spec: SizeSpec, net: nn.Module, folder: Path
) -> dict[nn.Parameter, torch.optim.Optimizer]:
    """One for each parameter. Not the adapter's own: the reference must not share its mistakes.

    folder: for the moments, which the system may write back and forget.
    """
    o = spec.optimizer
    made: dict[nn.Parameter, torch.optim.Optimizer] = {}
    for number, one in enumerate(models.trained(net)):
        if o.name == "sgd":
            made[one] = torch.optim.SGD(
                [one], lr=o.lr, momentum=o.momentum, weight_decay=o.weight_decay
            )
            continue
        made[one] = adamw = torch.optim.AdamW(
            [one], lr=o.lr, betas=(o.beta1, o.beta2), eps=o.eps, weight_decay=o.weight_decay
        )
        moments = {
            name: torch.from_file(
                str(folder / f"{number}-{name}"), shared=True, size=one.numel(), dtype=one.dtype
            ).view_as(one)
            for name in ("exp_avg", "exp_avg_sq")
        }
        adamw.state[one] = {"step": torch.zeros(()), **moments}
    return made
