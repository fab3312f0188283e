"""Activation checkpointing: ``nnx.remat`` around each layer of the encoder and of the decoder, each
block of the CNN.

As flax's documentation writes it. It carries what a block changes, BatchNorm's running statistics,
out of the first pass only. The setting ``recompute=on``.
"""

from __future__ import annotations

from typing import Any

from flax import nnx

from backends.jax.parts import call
from bench.contract import Cell, Settings

PRIMITIVE = "remat2"
recomputed = nnx.remat(call)


def asked(cell: Cell) -> bool:
    return cell.settings.get("recompute") == "on"


def apply(cell: Cell, model: nnx.Module) -> None:
    """Where the cell asks for it. Before the model is split: how it calls is part of its graph."""
    if asked(cell):
        for _, module in nnx.iter_modules(model):
            if hasattr(module, "run"):
                module.run = recomputed


def facts(step: Any, *arguments: Any) -> Settings:
    """How many blocks the step recomputes, of its trace, which jit keeps for the first call."""
    jaxpr = step.trace(*arguments).jaxpr
    count = sum(equation.primitive.name == PRIMITIVE for equation in jaxpr.eqns)
    return {"recompute": count} if count else {}
