"""Activation checkpointing: a block keeps its inputs only and runs again in the backward pass.

As MindSpore documents it, by ``Cell.recompute``: each layer of the encoder and of the decoder, each
residual block of the CNN. The setting ``recompute=on``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import MethodType

from mindspore import Tensor, nn, ops

from backends import answers
from backends.mindspore.cnn import BasicBlock, Bottleneck
from backends.mindspore.decoder import DecoderLayer
from backends.mindspore.encoder import Layer
from bench.contract import Cell, Settings

BLOCKS = (Layer, DecoderLayer, BasicBlock, Bottleneck)
AGAIN = "again"
"""Attribute of a block: whether its next pass in training is the one that recomputes."""
SEEN = "recomputed"
"""Attribute of a block that has run again in a backward pass."""


def unsupported(cell: Cell) -> str | None:
    if "recompute" in cell.settings and cell.trains and cell.mode == "compiled":
        return (
            "in a graph MindSpore runs the blocks again, but frees no memory for it on a CPU, where"
            " the encoder's peak was 8 % higher; on a GPU it has not been measured"
        )
    return answers.recompute(cell)


def apply(cell: Cell, model: nn.Cell) -> None:
    """Where the cell asks for it. Last: ``recompute`` notes weights and precisions."""
    if cell.settings.get("recompute") == "on":
        for block in blocks(model):
            setattr(block, AGAIN, False)
            block.construct = MethodType(twice(type(block)), block)
            block.recompute()


def blocks(model: nn.Cell) -> list[nn.Cell]:
    return [block for _, block in model.cells_and_names() if isinstance(block, BLOCKS)]


def twice(kind: type[nn.Cell]) -> Callable[..., Tensor]:
    """The kind's construct, as a method that tells the second pass of a training step."""

    def construct(block: nn.Cell, *inputs: Tensor) -> Tensor:
        again = block.training and getattr(block, AGAIN)
        setattr(block, AGAIN, block.training and not again)
        if not again:
            return kind.construct(block, *inputs)
        setattr(block, SEEN, True)
        with frozen(block):
            return kind.construct(block, *inputs)

    return construct


@contextlib.contextmanager
def frozen(block: nn.Cell) -> Iterator[None]:
    """BatchNorm's running statistics have seen the batch already: the second pass leaves them."""
    norms = [one for _, one in block.cells_and_names() if isinstance(one, nn.BatchNorm2d)]
    operators = [norm.bn_train for norm in norms]
    for norm in norms:
        # The operator's momentum is the weight of the new batch.
        norm.bn_train = ops.BatchNorm(is_training=True, epsilon=norm.eps, momentum=0.0)
    try:
        yield
    finally:
        for norm, operator in zip(norms, operators):
            norm.bn_train = operator


def facts(model: nn.Cell) -> Settings:
    """How many blocks have been recomputed; nothing where none was, nor before the first step."""
    count = sum(hasattr(block, SEEN) for block in blocks(model))
    return {"recompute": count} if count else {}
