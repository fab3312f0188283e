"""What computes attention: XLA, or cuDNN's flash attention, which JAX takes where it is told to.

Keras on JAX uses it too, so flax is not imported here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from backends.attention import fused
from bench.contract import Cell

CUDNN = "cudnn"
PRIMITIVE = "dot_product_attention"
"""In the names of cuDNN's operations in a trace; XLA's is composed of ordinary ones."""


def apply(cell: Cell, model: Any) -> None:
    """In the tuned track on NVIDIA's GPUs. JAX raises where cuDNN has no kernel for the shapes.

    Before the model is split: which one it calls is part of its graph.
    """
    if fused(cell):
        for layer in model.attentions():
            layer.implementation = CUDNN


def attend(query: Array, key: Array, value: Array, mask: Array, implementation: str | None) -> Any:
    """[B, S, heads, width of a head] -> the same; mask [B, 1, 1, S], True for tokens."""
    if implementation is None:
        return jax.nn.dot_product_attention(query, key, value, mask=mask)
    # cuDNN takes no mask that is broadcast over queries. It takes lengths: padding comes last.
    lengths = mask.sum((1, 2, 3), dtype=jnp.int32)
    return jax.nn.dot_product_attention(
        query, key, value, key_value_seq_lengths=lengths, implementation=implementation
    )


def kernel(jaxpr: Any) -> str:
    """``cudnn`` or ``xla``, of a traced function."""
    return CUDNN if any(PRIMITIVE in name for name in operations(jaxpr)) else "xla"


def operations(jaxpr: Any) -> Iterator[str]:
    """Names of all operations of a trace, and of the functions in it."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield equation.primitive.name
        for value in equation.params.values():
            if hasattr(value, "eqns"):
                yield from operations(value)
