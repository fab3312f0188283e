"""The encoder as flax nnx's users write it: BERT.

Attributes carry the canonical weight names.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from backends.jax.attention import attend
from backends.jax.parts import Parts, call
from bench.dims import EncoderDims


class Embeddings(nnx.Module):
    """Word, position and type vectors, summed and normalised; ids [B, S] -> [B, S, W]."""

    def __init__(self, parts: Parts) -> None:
        self.word_embeddings = parts.embed(parts.dims.vocab)
        self.position_embeddings = parts.embed(parts.dims.positions)
        self.token_type_embeddings = parts.embed(parts.dims.types)
        self.LayerNorm = parts.layer_norm()

    def __call__(self, ids: Array) -> Array:
        positions = jnp.arange(ids.shape[1])
        # Every token is of type 0, so one row serves all.
        types = self.token_type_embeddings(jnp.zeros_like(positions))
        words = self.word_embeddings(ids)
        return self.LayerNorm(words + (self.position_embeddings(positions) + types))


class SelfAttention(nnx.Module):
    """Multi-head attention before its output projection; [B, S, W] -> [B, S, W].

    implementation: JAX's name for it; None: its default.
    """

    implementation: str | None = None

    def __init__(self, parts: Parts) -> None:
        width = parts.dims.width
        self.heads = parts.dims.heads
        self.query = parts.linear(width, width)
        self.key = parts.linear(width, width)
        self.value = parts.linear(width, width)

    def __call__(self, x: Array, mask: Array) -> Array:
        query, key, value = (
            layer(x).reshape(*x.shape[:2], self.heads, -1)
            for layer in (self.query, self.key, self.value)
        )
        return attend(query, key, value, mask, self.implementation).reshape(x.shape)


class Output(nnx.Module):
    """A projection, the residual and a post-LayerNorm; [B, S, inputs] -> [B, S, W]."""

    def __init__(self, parts: Parts, inputs: int) -> None:
        self.dense = parts.linear(inputs, parts.dims.width)
        self.LayerNorm = parts.layer_norm()

    def __call__(self, x: Array, residual: Array) -> Array:
        return self.LayerNorm(self.dense(x) + residual)


class Attention(nnx.Module):
    """Self-attention with its projection and residual; [B, S, W] -> [B, S, W]."""

    def __init__(self, parts: Parts) -> None:
        self.self = SelfAttention(parts)
        self.output = Output(parts, parts.dims.width)

    def __call__(self, x: Array, mask: Array) -> Array:
        return self.output(self.self(x, mask), x)


class Intermediate(nnx.Module):
    """The widening half of the feed-forward; erf GELU; [B, S, W] -> [B, S, ffn]."""

    def __init__(self, parts: Parts) -> None:
        self.dense = parts.linear(parts.dims.width, parts.dims.ffn)

    def __call__(self, x: Array) -> Array:
        return nnx.gelu(self.dense(x), approximate=False)


class Layer(nnx.Module):
    """One encoder layer, post-LayerNorm; [B, S, W] -> [B, S, W]."""

    def __init__(self, parts: Parts) -> None:
        self.attention = Attention(parts)
        self.intermediate = Intermediate(parts)
        self.output = Output(parts, parts.dims.ffn)

    def __call__(self, x: Array, mask: Array) -> Array:
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class Layers(nnx.Module):
    """The stack, under BERT's name ``encoder.layer``. run: how a layer is called."""

    run = staticmethod(call)

    def __init__(self, parts: Parts) -> None:
        self.layer = nnx.List([Layer(parts) for _ in range(parts.dims.layers)])

    def __call__(self, x: Array, mask: Array) -> Array:
        for layer in self.layer:
            x = self.run(layer, x, mask)
        return x


class Pooler(nnx.Module):
    """tanh of a projected first token; [B, S, W] -> [B, W]."""

    def __init__(self, parts: Parts) -> None:
        self.dense = parts.linear(parts.dims.width, parts.dims.width)

    def __call__(self, x: Array) -> Array:
        return nnx.tanh(self.dense(x[:, 0]))


class Encoder(nnx.Module):
    """BERT for classification; ids, mask [B, S] -> logits [B, classes]."""

    def __init__(self, dims: EncoderDims, *, dtype: Any) -> None:
        parts = Parts(dims, dtype)
        self.embeddings = Embeddings(parts)
        self.encoder = Layers(parts)
        self.pooler = Pooler(parts)
        self.classifier = parts.linear(dims.width, dims.classes)

    def attentions(self) -> list[Any]:
        return [layer.attention.self for layer in self.encoder.layer]

    def __call__(self, ids: Array, mask: Array) -> Array:
        real = mask.astype(bool)[:, None, None, :]  # broadcast over heads and query positions
        return self.classifier(self.pooler(self.encoder(self.embeddings(ids), real)))
