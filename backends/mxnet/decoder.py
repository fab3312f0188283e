"""The decoder as Gluon's users would write it: Llama of stock operators, tied embeddings.

MXNet 1.9 has neither RMSNorm nor rotary positions. Every layer is told its input width, so no shape
is deferred. Structural names are the canonical ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock, nn

from backends.mxnet.cnn import sequential
from backends.mxnet.encoder import MASKED
from backends.rotary import tables
from bench.dims import DecoderDims


def dense(inputs: int, outputs: int, **options: Any) -> nn.Dense:
    """A layer over the last axis; Gluon's default is to flatten the others."""
    return nn.Dense(outputs, in_units=inputs, flatten=False, use_bias=False, **options)


class LoraDense(nn.Dense):
    """A frozen layer with a trained adapter beside it (LoRA); [..., in] -> [..., out]."""

    def __init__(self, dims: DecoderDims, outputs: int) -> None:
        super().__init__(outputs, in_units=dims.width, flatten=False, use_bias=False)
        self.scale = dims.lora_scale
        with self.name_scope():
            self.lora_A = dense(dims.width, dims.lora_rank, prefix="lora_A_")
            self.lora_B = dense(dims.lora_rank, outputs, prefix="lora_B_")

    def hybrid_forward(self, F: Any, x: Any, weight: Any) -> Any:
        return super().hybrid_forward(F, x, weight) + self.lora_B(self.lora_A(x)) * self.scale


def projection(dims: DecoderDims, outputs: int) -> nn.Dense:
    """[B, S, W] -> [B, S, outputs], with an adapter where the dims have one."""
    return LoraDense(dims, outputs) if dims.lora_rank else dense(dims.width, outputs)


class RMSNorm(HybridBlock):
    """[B, S, W] -> [B, S, W]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.eps = dims.norm_eps
        with self.name_scope():
            self.weight = self.params.get("weight", shape=(dims.width,))

    def hybrid_forward(self, F: Any, x: Any, weight: Any) -> Any:
        square = F.mean(F.square(x), axis=-1, keepdims=True)
        return F.broadcast_mul(F.broadcast_mul(x, F.rsqrt(square + self.eps)), weight)


class Attention(HybridBlock):
    """Causal grouped-query attention; [B, S, W] -> [B, S, W], and the keys and values of these
    tokens, [B * kv_heads, S, size], for a cache.

    past: a cache's keys and values, [B * kv_heads, room, size], for a single new token.
    """

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.size = dims.heads, dims.kv_heads, dims.head_width
        self.sequence = dims.sequence
        shared = dims.kv_heads * dims.head_width
        with self.name_scope():
            self.q_proj = projection(dims, dims.width)
            self.k_proj = projection(dims, shared)
            self.v_proj = projection(dims, shared)
            self.o_proj = projection(dims, dims.width)

    def hybrid_forward(self, F: Any, x: Any, cos: Any, sin: Any, future: Any, *past: Any) -> Any:
        length = 1 if past else self.sequence
        query = self.turn(F, self.split(F, self.q_proj(x), self.heads, length), cos, sin)
        key = self.turn(F, self.split(F, self.k_proj(x), self.kv_heads, length), cos, sin)
        value = self.split(F, self.v_proj(x), self.kv_heads, length)
        # Queries that share keys lie one behind the other: nothing is repeated for them.
        rows = self.heads // self.kv_heads * length
        query = F.reshape(query * self.size**-0.5, (-1, rows, self.size))
        out = attend(F, query, key, value, future, *past)
        out = F.transpose(F.reshape(out, (-1, self.heads, length, self.size)), (0, 2, 1, 3))
        return self.o_proj(F.reshape(out, (0, 0, -1))), key, value

    def split(self, F: Any, x: Any, heads: int, length: int) -> Any:
        """[B, S, heads * size] -> [B * heads, S, size]."""
        x = F.transpose(F.reshape(x, (-1, length, heads, self.size)), (0, 2, 1, 3))
        return F.reshape(x, (-1, length, self.size))

    def turn(self, F: Any, x: Any, cos: Any, sin: Any) -> Any:
        """Rotary positions; cosines and sines [1, S, size]."""
        first, second = F.split(x, num_outputs=2, axis=-1)
        turned = F.concat(-second, first, dim=-1)
        return F.broadcast_mul(x, cos) + F.broadcast_mul(turned, sin)


def attend(F: Any, query: Any, key: Any, value: Any, future: Any, *past: Any) -> Any:
    """Products over the cache apart from those over the new token: nothing of it is copied.

    query: [B * kv_heads, rows, size]. future: what scores get added, [1, rows or 1, all keys].
    """
    scores = F.batch_dot(query, key, transpose_b=True)
    if past:
        scores = F.concat(F.batch_dot(query, past[0], transpose_b=True), scores, dim=-1)
    shares = F.softmax(F.broadcast_add(scores, future), axis=-1)
    if not past:
        return F.batch_dot(shares, value)
    before = F.slice_axis(shares, axis=-1, begin=0, end=-1)
    own = F.slice_axis(shares, axis=-1, begin=-1, end=None)
    return F.batch_dot(before, past[1]) + F.batch_dot(own, value)


class Mlp(HybridBlock):
    """SwiGLU; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.gate_proj = dense(dims.width, dims.ffn)
            self.up_proj = dense(dims.width, dims.ffn)
            self.down_proj = dense(dims.ffn, dims.width)
            self.silu = nn.Swish()

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.down_proj(self.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(HybridBlock):
    """One decoder layer, each half behind its RMSNorm; [B, S, W] -> [B, S, W], keys, values."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.input_layernorm = RMSNorm(dims)
            self.self_attn = Attention(dims)
            self.post_attention_layernorm = RMSNorm(dims)
            self.mlp = Mlp(dims)

    def hybrid_forward(self, F: Any, x: Any, *others: Any) -> tuple[Any, Any, Any]:
        out, key, value = self.self_attn(self.input_layernorm(x), *others)
        x = x + out
        return x + self.mlp(self.post_attention_layernorm(x)), key, value


class Model(HybridBlock):
    """All but the head; ids [B, S] -> [B, S, W], and for a cache each layer's keys and values.

    past: those of the tokens before, in the same order.
    """

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.embed_tokens = nn.Embedding(dims.vocab, dims.width)
            self.layers = sequential(*(DecoderLayer(dims) for _ in range(dims.layers)))
            self.norm = RMSNorm(dims)

    def hybrid_forward(self, F: Any, ids: Any, cos: Any, sin: Any, future: Any, *past: Any) -> Any:
        x, found = self.embed_tokens(ids), []
        for index, layer in enumerate(self.layers):
            x, *new = layer(x, cos, sin, future, *past[2 * index : 2 * index + 2])
            found += new
        return self.norm(x), *found


class Decoder(HybridBlock):
    """Llama; ids [B, S] -> logits [B, S, vocab]. The head has the embeddings' parameters."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.model = Model(dims)
            self.head = dense(dims.width, dims.vocab, params=self.model.embed_tokens.params)
        if dims.lora_rank:
            self.collect_params().setattr("grad_req", "null")
            self.collect_params(".*lora_").setattr("grad_req", "write")
        constants(self, causal(dims))

    def hybrid_forward(self, F: Any, ids: Any, cos: Any, sin: Any, future: Any) -> Any:
        return self.head(self.model(ids, cos, sin, future)[0])


def causal(dims: DecoderDims) -> dict[str, np.ndarray]:
    """Angles and mask where all tokens are at hand, by what ``Model`` calls them."""
    future = np.triu(np.full((dims.sequence,) * 2, -MASKED, np.float32), k=1)
    cos, sin = tables(dims, dims.sequence)
    future = np.tile(future, (1, dims.heads // dims.kv_heads, 1))
    return {"cos": cos[None], "sin": sin[None], "future": future}


def constants(block: HybridBlock, values: Mapping[str, np.ndarray]) -> None:
    """Made the block's own, by their names, under which it is given them."""
    for name, value in values.items():
        setattr(block, name, block.params.get_constant(name, mx.nd.array(value)))
