"""Activation checkpointing: a block keeps its inputs only and runs again in the backward pass.

As Paddle documents it, by fleet's ``recompute``: each layer of the encoder and of the decoder, each
residual block of the CNN. The setting ``recompute=on``.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from functools import partial

from paddle import Tensor, nn
from paddle.distributed.fleet.utils import recompute

from backends import answers
from backends.paddle import models
from backends.paddle.cnn import BasicBlock, Bottleneck
from backends.paddle.decoder import DecoderLayer
from backends.paddle.encoder import EncoderLayer
from bench.contract import Cell, Settings

BLOCKS = (EncoderLayer, DecoderLayer, BasicBlock, Bottleneck)
SEEN = "recomputed"
"""Attribute of a block that has run again in a backward pass."""


def unsupported(cell: Cell) -> str | None:
    if "recompute" in cell.settings and cell.trains and cell.mode == "compiled":
        return (
            "in a graph of to_static, fleet's recompute runs nothing again: it only marks operators"
            " for Paddle's static parallel engine, which does not run here"
        )
    return answers.recompute(cell)


def apply(cell: Cell, model: nn.Layer) -> None:
    """Where the cell asks for it.

    With re-entrance, Paddle's default: without it the cnn keeps a third more. But DataParallel
    finds no gradients in a backward pass within another one; and no block has any whose input needs
    none, as the first behind frozen embeddings, whatever it trains itself.
    """
    if cell.settings.get("recompute") == "on":
        reentrant = cell.world_size == 1 and not models.kept(model)
        for block in model.sublayers():
            if isinstance(block, BLOCKS):
                how = {"use_reentrant": reentrant}
                block.forward = partial(twice, block, block.forward, how)


def twice(
    block: nn.Layer, forward: Callable[..., Tensor], how: dict[str, bool], *inputs: Tensor
) -> Tensor:
    """Each call counts its passes by itself."""
    return recompute(partial(run, block, forward, itertools.count()), *inputs, **how)


def run(
    block: nn.Layer, forward: Callable[..., Tensor], count: Iterator[int], *inputs: Tensor
) -> Tensor:
    if next(count) == 0:
        return forward(*inputs)
    setattr(block, SEEN, True)
    with frozen(block):
        return forward(*inputs)


@contextlib.contextmanager
def frozen(block: nn.Layer) -> Iterator[None]:
    """BatchNorm's running statistics have seen the batch already: the second pass leaves them."""
    norms = [one for one in block.sublayers() if isinstance(one, nn.BatchNorm2D)]
    momenta = [norm._momentum for norm in norms]  # noqa: SLF001  no public way
    for norm in norms:
        norm._momentum = 1.0  # noqa: SLF001  the weight of the old statistics
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta):
            norm._momentum = momentum  # noqa: SLF001  no public way


def facts(model: nn.Layer) -> Settings:
    """How many blocks have been recomputed; nothing where none was, nor before the first step."""
    count = sum(hasattr(block, SEEN) for block in model.sublayers())
    return {"recompute": count} if count else {}
