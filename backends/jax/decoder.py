"""The decoder as flax nnx's users write it: Llama, tied embeddings.

Attributes carry the canonical weight names.
"""

from __future__ import annotations

from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from backends.jax.parts import Parts, call
from backends.rotary import tables
from bench.dims import DecoderDims


class Past(Protocol):
    """One layer's keys and values of the tokens before: a cache (backends/jax/generation.py)."""

    def extend(self, key: Array, value: Array) -> tuple[Array, Array, Array | None]:
        """Takes those of the tokens at hand, [B, S, kv_heads, width of a head]; keys and values to
        attend to, and which of them each query sees, [.., all]; None: causally, for they are alike.
        """


def turn(x: Array, cos: Array, sin: Array) -> Array:
    """Rotary positions on [B, S, heads, width of a head]; cosines and sines [S, 1, width]."""
    first, second = jnp.split(x, 2, axis=-1)
    return x * cos + jnp.concatenate([-second, first], axis=-1) * sin


class Attention(nnx.Module):
    """Causal grouped-query attention; [B, S, W] -> [B, S, W].

    implementation: JAX's name for it, where no mask is needed; None: its default.
    """

    implementation: str | None = None

    def __init__(self, parts: Parts) -> None:
        width, head = parts.dims.width, parts.dims.head_width
        shared = parts.dims.kv_heads * head
        self.head_width = head
        self.q_proj = parts.adapted(width, width)
        self.k_proj = parts.adapted(width, shared)
        self.v_proj = parts.adapted(width, shared)
        self.o_proj = parts.adapted(width, width)

    def __call__(self, x: Array, cos: Array, sin: Array, past: Past | None = None) -> Array:
        query, key, value = (
            layer(x).reshape(*x.shape[:2], -1, self.head_width)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = turn(query, cos, sin), turn(key, cos, sin)
        seen = None
        if past is not None:
            key, value, seen = past.extend(key, value)
        causal = seen is None
        how = self.implementation if causal else None
        out = jax.nn.dot_product_attention(
            query, key, value, mask=seen, is_causal=causal, implementation=how
        )
        return self.o_proj(out.reshape(x.shape))


class Mlp(nnx.Module):
    """SwiGLU; [B, S, W] -> [B, S, W]."""

    def __init__(self, parts: Parts) -> None:
        width, ffn = parts.dims.width, parts.dims.ffn
        self.gate_proj = parts.linear(width, ffn, use_bias=False)
        self.up_proj = parts.linear(width, ffn, use_bias=False)
        self.down_proj = parts.linear(ffn, width, use_bias=False)

    def __call__(self, x: Array) -> Array:
        return self.down_proj(nnx.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nnx.Module):
    """One decoder layer, each half behind its RMSNorm; [B, S, W] -> [B, S, W]."""

    def __init__(self, parts: Parts) -> None:
        self.input_layernorm = parts.rms_norm()
        self.self_attn = Attention(parts)
        self.post_attention_layernorm = parts.rms_norm()
        self.mlp = Mlp(parts)

    def __call__(self, x: Array, cos: Array, sin: Array, past: Past | None = None) -> Array:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, past)
        return x + self.mlp(self.post_attention_layernorm(x))


class Model(nnx.Module):
    """All but the head; ids [B, S] -> [B, S, W]. run: how a layer is called."""

    run = staticmethod(call)

    def __init__(self, parts: Parts) -> None:
        self.dims = parts.dims
        self.embed_tokens = parts.embed(parts.dims.vocab)
        self.layers = nnx.List([DecoderLayer(parts) for _ in range(parts.dims.layers)])
        self.norm = parts.rms_norm()

    def __call__(self, ids: Array) -> Array:
        x = self.embed_tokens(ids)
        # The same for every head, in the type that is computed in.
        cos, sin = (jnp.array(one[:, None], x.dtype) for one in tables(self.dims, ids.shape[1]))
        for layer in self.layers:
            x = self.run(layer, x, cos, sin)
        return self.norm(x)


class Decoder(nnx.Module):
    """Llama with tied embeddings; ids [B, S] -> logits [B, S, vocab]."""

    def __init__(self, dims: DecoderDims, *, dtype: Any) -> None:
        self.model = Model(Parts(dims, dtype))

    def attentions(self) -> list[Any]:
        return [layer.self_attn for layer in self.model.layers]

    def __call__(self, ids: Array) -> Array:
        return self.model.embed_tokens.attend(self.model(ids))
