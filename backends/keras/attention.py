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
from bench.dims import DecoderDims, EncoderDims


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
    if isinstance(cell.dims, DecoderDims):
        return {"attention": OF_DECODER[keras.backend.backend()](cell, cell.dims)}
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


def _causal_jax(cell: Cell, dims: DecoderDims) -> str:
    """Of a trace of the function that the decoder calls."""
    import jax  # noqa: PLC0415  # not there under the other engines

    from backends.jax import attention  # noqa: PLC0415  # imports jax

    query, key = (
        jax.ShapeDtypeStruct(shape, keras.config.dtype_policy().compute_dtype)
        for shape in _shapes(cell, dims)
    )

    def call(query: Any, key: Any, value: Any) -> Any:
        return ops.dot_product_attention(query, key, value, is_causal=True)

    return attention.kernel(jax.make_jaxpr(call)(query, key, key))


def _causal_torch(cell: Cell, dims: DecoderDims) -> str:
    """Keras repeats the keys and values that queries share, and leaves the rest to torch."""
    import torch  # noqa: PLC0415  # not there under the other engines

    from backends.torch import attention  # noqa: PLC0415  # imports torch

    (batch, length, heads, width), _ = _shapes(cell, dims)
    kind = {"dtype": getattr(torch, keras.config.dtype_policy().compute_dtype)}
    where = "cpu" if cell.device == "cpu" else "cuda"
    query = torch.empty(batch, heads, length, width, **kind, device=where, requires_grad=True)
    return attention.kernel(query, None, is_causal=True)


def _shapes(cell: Cell, dims: DecoderDims) -> list[tuple[int, ...]]:
    """Of queries, and of keys and values."""
    heads = (dims.heads, dims.kv_heads)
    return [(cell.batch, dims.sequence, count, dims.head_width) for count in heads]


def _causal_tensorflow(_cell: Cell, _dims: DecoderDims) -> str:
    return COMPOSED


OF_DECODER = {"jax": _causal_jax, "torch": _causal_torch, "tensorflow": _causal_tensorflow}
ASKED = {"jax": _jax, "torch": _torch, "tensorflow": _tensorflow}
