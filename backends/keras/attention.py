"""What computes attention: what Keras's layer makes of it on each engine.

Keras takes a fused kernel where its engine has one for what it is given: by default, in either
track. Its reasons not to are the engine's, and it goes on without; so the engine is asked.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from backends.attention import COMPOSED, fused
from backends.keras.inside import layers_of
from bench.contract import Cell, Settings
from bench.dims import EncoderDims


def square(cell: Cell) -> bool:
    """Whether the mask has to be [B, S, S], as the layer documents it, and not [B, 1, S].

    cuDNN takes no mask that is broadcast over queries: on JAX Keras would go on without cuDNN.
    """
    return fused(cell) and keras.backend.backend() == "jax"


def real(mask: Any, *, square: bool) -> Any:
    """What may be attended to, of a mask [B, S]."""
    keys = ops.expand_dims(ops.cast(mask, "bool"), 1)  # broadcast over query positions
    if not square:
        return keys
    return ops.logical_or(keys, ops.zeros_like(ops.expand_dims(mask, 2), "bool"))


def facts(cell: Cell, model: keras.Model) -> Settings:
    found = (one for one in layers_of(model) if type(one) is layers.MultiHeadAttention)
    layer = next(found, None)
    if layer is None or not isinstance(cell.dims, EncoderDims):
        return {}
    return {"attention": ASKED[keras.backend.backend()](layer, cell, cell.dims)}


def _jax(layer: Any, cell: Cell, dims: EncoderDims) -> str:
    """Of a trace of the layer. Without its values: during fit they are fit's."""
    import jax  # noqa: PLC0415  # not there under the other engines

    from backends.jax import attention  # noqa: PLC0415  # imports jax

    queries = dims.sequence if square(cell) else 1
    x = jax.ShapeDtypeStruct((cell.batch, dims.sequence, dims.width), "float32")
    mask = jax.ShapeDtypeStruct((cell.batch, queries, dims.sequence), "bool")
    weights = [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in layer.trainable_variables]

    def call(weights: Any, x: Any, mask: Any) -> Any:
        return layer.stateless_call(weights, [], x, x, attention_mask=mask)[0]

    return attention.kernel(jax.make_jaxpr(call)(weights, x, mask))


def _torch(layer: Any, cell: Cell, dims: EncoderDims) -> str:
    """Keras makes numbers of the mask, so what it leaves to torch is torch's choice for those."""
    import torch  # noqa: PLC0415  # not there under the other engines

    from backends.torch import attention  # noqa: PLC0415  # imports torch

    where = layer.query_dense.kernel.value.device
    kind = {"dtype": getattr(torch, layer.compute_dtype), "device": where}
    shape = (cell.batch, dims.heads, dims.sequence, dims.width // dims.heads)
    query = torch.empty(shape, **kind, requires_grad=cell.trains)
    return attention.kernel(query, torch.zeros(cell.batch, 1, 1, dims.sequence, **kind))


def _tensorflow(_layer: Any, _cell: Cell, _dims: EncoderDims) -> str:
    """Products and a softmax: "Flash attention is not supported in tensorflow backend."."""
    return COMPOSED


ASKED = {"jax": _jax, "torch": _torch, "tensorflow": _tensorflow}
