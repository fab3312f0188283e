"""Activation checkpointing: a block keeps its inputs only and runs again in the backward pass.

As torch.utils.checkpoint documents it, without re-entrance: each layer of the encoder and of the
decoder, each residual block of the CNN. The setting ``recompute=on``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from backends.torch.cnn import BasicBlock, Bottleneck
from backends.torch.decoder import DecoderLayer
from backends.torch.encoder import Layer
from bench.contract import Cell, Settings

BLOCKS = (Layer, DecoderLayer, BasicBlock, Bottleneck)


def apply(cell: Cell, model: nn.Module) -> None:
    """Where the cell asks for it. Before anything wraps the model: names stay what they are."""
    if cell.settings.get("recompute") == "on":
        wrap(model, compiled=cell.mode == "compiled")


def wrap(model: nn.Module, *, compiled: bool = False) -> None:
    """compiled: torch.compile takes updates of buffers out of what it recomputes by itself."""
    for block in model.modules():
        if isinstance(block, BLOCKS):
            options: dict[str, Any] = {"use_reentrant": False}
            if not compiled:
                options["context_fn"] = partial(contexts, block)
            block.forward = partial(checkpoint, block.forward, **options)  # type: ignore[method-assign]


def contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Of the first pass, and of the one that recomputes."""
    return nullcontext(), frozen(block)


@contextlib.contextmanager
def frozen(block: nn.Module) -> Iterator[None]:
    """BatchNorm's running statistics have seen the batch already: the second pass leaves them."""
    kinds = (nn.BatchNorm2d, nn.SyncBatchNorm)
    norms = [one for one in block.modules() if isinstance(one, kinds)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0  # the weight of the new batch
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum


def facts(model: nn.Module) -> Settings:
    """How many blocks recompute; nothing where none does."""
    forwards = (vars(module).get("forward") for module in model.modules())
    count = sum(isinstance(one, partial) and one.func is checkpoint for one in forwards)
    return {"recompute": count} if count else {}
