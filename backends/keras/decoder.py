"""The decoder as Keras's users write it: Llama as a functional model of stock layers and ops."""

from __future__ import annotations

from functools import partial

import keras
from keras import layers, ops

from backends.keras.parts import Tensor, logits
from backends.keras.recompute import Around, plain
from backends.rotary import tables
from bench.dims import DecoderDims


def decoder(dims: DecoderDims, *, around: Around = plain) -> keras.Model:
    """Ids int32 [B, S] -> logits [B, S, vocab]."""
    ids = keras.Input((dims.sequence,), dtype="int32", name="ids")
    embedding = layers.ReversibleEmbedding(dims.vocab, dims.width, name="model-embed_tokens")
    x = embedding(ids)
    for index in range(dims.layers):
        x = around(partial(layer, dims=dims, name=f"model-layers-{index}"))(x)
    x = normalise(x, dims, "model-norm")
    return keras.Model(ids, logits(embedding(x, reverse=True)), name="decoder")


def layer(x: Tensor, dims: DecoderDims, name: str) -> Tensor:
    """One decoder layer, each half behind its RMSNorm; [B, S, W] -> [B, S, W]."""
    normed = normalise(x, dims, f"{name}-input_layernorm")
    x = layers.add([x, attend(normed, dims, f"{name}-self_attn")])
    normed = normalise(x, dims, f"{name}-post_attention_layernorm")
    gate = dense(normed, dims.ffn, f"{name}-mlp-gate_proj", activation="silu")
    up = dense(normed, dims.ffn, f"{name}-mlp-up_proj")
    return layers.add([x, dense(layers.multiply([gate, up]), dims.width, f"{name}-mlp-down_proj")])


def attend(x: Tensor, dims: DecoderDims, name: str) -> Tensor:
    """Causal grouped-query attention; [B, S, W] -> [B, S, W].

    Keras's GroupedQueryAttention has no place for rotary positions between its projections and its
    products: so by the function that it calls.
    """
    heads = {"q": dims.heads, "k": dims.kv_heads, "v": dims.kv_heads}
    query, key, value = (
        layers.Reshape((dims.sequence, count, dims.head_width))(
            dense(x, count * dims.head_width, f"{name}-{part}_proj")
        )
        for part, count in heads.items()
    )
    mixed = ops.dot_product_attention(turn(query, dims), turn(key, dims), value, is_causal=True)
    mixed = layers.Reshape((dims.sequence, dims.width))(mixed)
    return dense(mixed, dims.width, f"{name}-o_proj")


def turn(x: Tensor, dims: DecoderDims) -> Tensor:
    """Rotary positions on [B, S, heads, width of a head]."""
    cos, sin = (ops.cast(one[:, None], x.dtype) for one in tables(dims, dims.sequence))
    first, second = ops.split(x, 2, axis=-1)
    return x * cos + ops.concatenate([-second, first], axis=-1) * sin


def dense(x: Tensor, width: int, name: str, *, activation: str | None = None) -> Tensor:
    return layers.Dense(width, activation=activation, use_bias=False, name=name)(x)


def normalise(x: Tensor, dims: DecoderDims, name: str) -> Tensor:
    return layers.RMSNormalization(epsilon=dims.norm_eps, name=name)(x)
