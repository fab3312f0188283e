"""The encoder as Keras's users write it: a functional model of stock layers."""

from __future__ import annotations

from functools import partial

import keras
from keras import layers, ops

from backends.keras import attention
from backends.keras.parts import Tensor, classify
from backends.keras.recompute import Around, plain
from bench.dims import EncoderDims


def encoder(
    dims: EncoderDims, *, length: int | None, square: bool = False, around: Around = plain
) -> keras.Model:
    """length: tokens of a sample; None: of any number."""
    ids = keras.Input((length,), dtype="int32", name="ids")
    mask = keras.Input((length,), dtype="int32", name="mask")
    x = embed(ids, dims)
    real = attention.real(mask, square=square)
    for index in range(dims.layers):
        x = around(partial(layer, dims=dims, name=f"encoder-layer-{index}"))(x, real)
    x = layers.Dense(dims.width, activation="tanh", name="pooler-dense")(x[:, 0])
    return keras.Model([ids, mask], classify(x, dims.classes, "classifier"), name="encoder")


def embed(ids: Tensor, dims: EncoderDims) -> Tensor:
    """Word, position and type vectors, summed and normalised; [B, S] -> [B, S, W]."""
    # One row serves all samples: positions 0, 1, ..., and every token is of type 0.
    types = ops.zeros_like(ids[0])
    positions = ops.cumsum(ops.ones_like(types)) - 1
    tables = {"word": (dims.vocab, ids), "position": (dims.positions, positions)}
    tables["token_type"] = (dims.types, types)
    words, places, kinds = (
        layers.Embedding(rows, dims.width, name=f"embeddings-{name}_embeddings")(index)
        for name, (rows, index) in tables.items()
    )
    return normalise(words + (places + kinds), dims, "embeddings-LayerNorm")


def layer(x: Tensor, real: Tensor, dims: EncoderDims, name: str) -> Tensor:
    """One encoder layer, post-LayerNorm; [B, S, W] -> [B, S, W]."""
    attention = layers.MultiHeadAttention(
        dims.heads, dims.width // dims.heads, name=f"{name}-attention-self"
    )
    x = layers.add([attention(x, x, attention_mask=real), x])
    x = normalise(x, dims, f"{name}-attention-output-LayerNorm")
    wide = layers.Dense(dims.ffn, activation="gelu", name=f"{name}-intermediate-dense")(x)
    x = layers.add([layers.Dense(dims.width, name=f"{name}-output-dense")(wide), x])
    return normalise(x, dims, f"{name}-output-LayerNorm")


def normalise(x: Tensor, dims: EncoderDims, name: str) -> Tensor:
    return layers.LayerNormalization(epsilon=dims.ln_eps, name=name)(x)
