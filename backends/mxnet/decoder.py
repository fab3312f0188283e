"""The decoder as Gluon's users would write it: Llama of stock operators, tied embeddings.

MXNet 1.9 has neither RMSNorm nor rotary positions. Every layer is told its input width, so no shape
is deferred. Structural names are the canonical ones.
"""

from __future__ import annotations

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
    """Causal grouped-query attention; [B, S, W] -> [B, S, W]."""

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

    def hybrid_forward(self, F: Any, x: Any, cos: Any, sin: Any, future: Any) -> Any:
        query = self.turn(F, self.split(F, self.q_proj(x), self.heads), cos, sin)
        key = self.turn(F, self.split(F, self.k_proj(x), self.kv_heads), cos, sin)
        value = self.split(F, self.v_proj(x), self.kv_heads)
        scores = F.batch_dot(query * self.size**-0.5, key, transpose_b=True)
        shares = F.softmax(F.broadcast_add(scores, future), axis=-1)
        out = F.reshape(F.batch_dot(shares, value), (-1, self.heads, self.sequence, self.size))
        out = F.transpose(out, (0, 2, 1, 3))
        return self.o_proj(F.reshape(out, (-1, self.sequence, self.heads * self.size)))

    def split(self, F: Any, x: Any, heads: int) -> Any:
        """[B, S, heads * size] -> [B * all heads, S, size], each as often as queries share it."""
        x = F.transpose(F.reshape(x, (-1, self.sequence, heads, self.size)), (0, 2, 1, 3))
        if heads != self.heads:
            x = F.repeat(x, repeats=self.heads // heads, axis=1)
        return F.reshape(x, (-1, self.sequence, self.size))

    def turn(self, F: Any, x: Any, cos: Any, sin: Any) -> Any:
        """Rotary positions; cosines and sines [1, S, size]."""
        first, second = F.split(x, num_outputs=2, axis=-1)
        turned = F.concat(-second, first, dim=-1)
        return F.broadcast_mul(x, cos) + F.broadcast_mul(turned, sin)


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
    """One decoder layer, each half behind its RMSNorm; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.input_layernorm = RMSNorm(dims)
            self.self_attn = Attention(dims)
            self.post_attention_layernorm = RMSNorm(dims)
            self.mlp = Mlp(dims)

    def hybrid_forward(self, F: Any, x: Any, cos: Any, sin: Any, future: Any) -> Any:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, future)
        return x + self.mlp(self.post_attention_layernorm(x))


class Model(HybridBlock):
    """All but the head; ids [B, S] -> [B, S, W]. Angles and mask are constants of the block."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        future = np.triu(np.full((dims.sequence,) * 2, -MASKED, np.float32), k=1)
        cos, sin = tables(dims, dims.sequence)
        with self.name_scope():
            self.embed_tokens = nn.Embedding(dims.vocab, dims.width)
            self.layers = sequential(*(DecoderLayer(dims) for _ in range(dims.layers)))
            self.norm = RMSNorm(dims)
            self.cos = self.params.get_constant("cos", mx.nd.array(cos[None]))
            self.sin = self.params.get_constant("sin", mx.nd.array(sin[None]))
            self.future = self.params.get_constant("future", mx.nd.array(future[None]))

    def hybrid_forward(self, F: Any, ids: Any, cos: Any, sin: Any, future: Any) -> Any:
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, cos, sin, future)
        return self.norm(x)


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

    def hybrid_forward(self, F: Any, ids: Any) -> Any:
        return self.head(self.model(ids))
