"""The decoder as Keras's users write it: Llama as a functional model of stock layers and ops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import keras
from keras import layers, ops

from backends.keras.inside import layers_of
from backends.keras.parts import Tensor, logits
from backends.keras.recompute import Around, plain
from backends.rotary import tables
from bench.dims import DecoderDims

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
"""Attention's, which LoRA's adapters stand beside."""


Mix = Callable[[Tensor, Tensor, Tensor], Tensor]
"""What queries [B, S, heads, width of a head] find by keys in values [B, S, kv_heads, ...]."""
Rotation = Sequence[Tensor]
"""Cosines and sines of the rotary angles, each [S, width of a head]."""


def attention(query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """mask: [..., S of queries, S of keys]; none: causally.

    Torch takes its flash attention without Keras's asking for it, and asking whether it can breaks
    torch.compile's graph.
    """
    flash = False if keras.backend.backend() == "torch" else None
    return ops.dot_product_attention(
        query, key, value, mask=mask, is_causal=mask is None, flash_attention=flash
    )


def decoder(dims: DecoderDims, *, around: Around = plain) -> keras.Model:
    """Ids int32 [B, S] -> logits [B, S, vocab]."""
    ids = keras.Input((dims.sequence,), dtype="int32", name="ids")
    words = embedding(dims)
    x, by = words(ids), rotation(dims, dims.sequence)
    for index in range(dims.layers):
        x = around(partial(layer, dims=dims, index=index, by=by))(x)
    x = normalise(x, dims, "model-norm")
    model = keras.Model(ids, logits(words(x, reverse=True)), name="decoder")
    if dims.lora_rank:
        adapt(model, dims)
    return model


def next_logits(
    ids: Tensor, places: Tensor, dims: DecoderDims, *, room: int, mixes: Sequence[Mix]
) -> Tensor:
    """Ids [B, S] of any length at ``places`` [S], below ``room`` -> logits of the last, [B, vocab].

    mixes: of each layer what attends to the tokens before, too.
    """
    words = embedding(dims)
    x, by = words(ids), [ops.take(one, places, axis=0) for one in rotation(dims, room)]
    for index, mix in enumerate(mixes):
        x = layer(x, dims, index, by, mix=mix)
    return logits(words(normalise(x, dims, "model-norm")[:, -1], reverse=True))


def embedding(dims: DecoderDims) -> layers.ReversibleEmbedding:
    return layers.ReversibleEmbedding(dims.vocab, dims.width, name="model-embed_tokens")


def adapt(model: keras.Model, dims: DecoderDims) -> None:
    """Put an adapter beside each of attention's projections (LoRA) and freeze all else, as
    KerasHub's ``Backbone.enable_lora`` does.

    Not by ``Dense(lora_rank=..., lora_alpha=...)``: Keras 3.15.1 forgets that alpha when it builds.
    """
    for one in layers_of(model):
        if one.name.endswith(PROJECTIONS):
            one.enable_lora(dims.lora_rank, lora_alpha=dims.lora_alpha)
        else:
            one.trainable = False


def layer(
    x: Tensor, dims: DecoderDims, index: int, by: Rotation, *, mix: Mix = attention
) -> Tensor:
    """One decoder layer, each half behind its RMSNorm; [B, S, W] -> [B, S, W]."""
    name = f"model-layers-{index}"
    normed = normalise(x, dims, f"{name}-input_layernorm")
    x = layers.add([x, attend(normed, dims, f"{name}-self_attn", by=by, mix=mix)])
    normed = normalise(x, dims, f"{name}-post_attention_layernorm")
    gate = dense(normed, dims.ffn, f"{name}-mlp-gate_proj", activation="silu")
    up = dense(normed, dims.ffn, f"{name}-mlp-up_proj")
    return layers.add([x, dense(layers.multiply([gate, up]), dims.width, f"{name}-mlp-down_proj")])


def attend(x: Tensor, dims: DecoderDims, name: str, *, by: Rotation, mix: Mix) -> Tensor:
    """Causal grouped-query attention; [B, S, W] -> [B, S, W].

    Keras's GroupedQueryAttention has no place for rotary positions between its projections and its
    products: so by the function that it calls.
    """
    heads = {"q": dims.heads, "k": dims.kv_heads, "v": dims.kv_heads}
    length = x.shape[1] or -1
    query, key, value = (
        layers.Reshape((length, count, dims.head_width))(
            dense(x, count * dims.head_width, f"{name}-{part}_proj")
        )
        for part, count in heads.items()
    )
    mixed = layers.Reshape((length, dims.width))(mix(turn(query, by), turn(key, by), value))
    return dense(mixed, dims.width, f"{name}-o_proj")


def rotation(dims: DecoderDims, length: int) -> Rotation:
    """Tensors, for of NumPy's arrays torch.compile breaks its graph at each."""
    return [ops.convert_to_tensor(one) for one in tables(dims, length)]


def turn(x: Tensor, by: Rotation) -> Tensor:
    """Rotary positions on [B, S, heads, width of a head]."""
    cos, sin = (ops.cast(one[:, None], x.dtype) for one in by)
    first, second = ops.split(x, 2, axis=-1)
    return x * cos + ops.concatenate([-second, first], axis=-1) * sin


def dense(x: Tensor, width: int, name: str, *, activation: str | None = None) -> Tensor:
    return layers.Dense(width, activation=activation, use_bias=False, name=name)(x)


def normalise(x: Tensor, dims: DecoderDims, name: str) -> Tensor:
    return layers.RMSNormalization(epsilon=dims.norm_eps, name=name)(x)
