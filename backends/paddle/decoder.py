"""The decoder as Paddle's users write it: PaddleNLP's Llama, tied embeddings.

Attributes carry the canonical weight names.
"""

from __future__ import annotations

from typing import Protocol

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from backends.rotary import tables
from bench.dims import DecoderDims


class Past(Protocol):
    """One layer's keys and values of the tokens before: a cache (backends/paddle/generation.py)."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Takes those of the tokens at hand, [B, S, heads or kv_heads, width of a head], into the
        cache; the queries' attention to all of it, in their shape.
        """


def dense(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias_attr=False)


class LoraLinear(nn.Linear):
    """A frozen layer with a trained adapter beside it (LoRA), as PaddleNLP has it; [..., in] ->
    [..., out].
    """

    def __init__(self, dims: DecoderDims, outputs: int) -> None:
        super().__init__(dims.width, outputs, bias_attr=False)
        self.scale = dims.lora_scale
        self.lora_A = dense(dims.width, dims.lora_rank)
        self.lora_B = dense(dims.lora_rank, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.lora_B(self.lora_A(x)) * self.scale


def projection(dims: DecoderDims, outputs: int) -> nn.Linear:
    """[B, S, W] -> [B, S, outputs], with an adapter where the dims have one."""
    return LoraLinear(dims, outputs) if dims.lora_rank else dense(dims.width, outputs)


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on [B, S, heads, width of a head]; cosines and sines [S, 1, width]."""
    first, second = paddle.chunk(x, 2, axis=-1)
    return x * cos.astype(x.dtype) + paddle.concat([-second, first], axis=-1) * sin.astype(x.dtype)


class RMSNorm(nn.Layer):
    """[B, S, W] -> the same, computed in float32, as PaddleNLP composes it: Paddle has no layer for
    it, and its function has no kernel on a CPU ("The kernel `rms_norm` is not registered.").
    """

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.eps = dims.norm_eps
        self.weight = self.create_parameter([dims.width])

    def forward(self, x: Tensor) -> Tensor:
        wide = x.astype("float32")
        size = paddle.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (size * wide).astype(x.dtype) * self.weight


class Attention(nn.Layer):
    """Causal grouped-query attention; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        shared = dims.kv_heads * dims.head_width
        self.head_width = dims.head_width
        self.q_proj = projection(dims, dims.width)
        self.k_proj = projection(dims, shared)
        self.v_proj = projection(dims, shared)
        self.o_proj = projection(dims, dims.width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, past: Past | None = None) -> Tensor:
        # [B, S, heads, head]: Paddle's own order, unlike PyTorch's. A 0 keeps that dimension.
        shape = [0, 0, -1, self.head_width]
        query = turn(self.q_proj(x).reshape(shape), cos, sin)
        key = turn(self.k_proj(x).reshape(shape), cos, sin)
        value = self.v_proj(x).reshape(shape)
        if past is None:
            out = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            out = past.attend(query, key, value)
        return self.o_proj(out.reshape([0, 0, -1]))


class Mlp(nn.Layer):
    """SwiGLU; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.gate_proj = dense(dims.width, dims.ffn)
        self.up_proj = dense(dims.width, dims.ffn)
        self.down_proj = dense(dims.ffn, dims.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Layer):
    """One decoder layer, each half behind its RMSNorm; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(dims)
        self.self_attn = Attention(dims)
        self.post_attention_layernorm = RMSNorm(dims)
        self.mlp = Mlp(dims)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, past: Past | None = None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, past)
        return x + self.mlp(self.post_attention_layernorm(x))


class Model(nn.Layer):
    """All but the head; ids [B, S] -> [B, S, W]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(dims.vocab, dims.width)
        self.layers = nn.LayerList([DecoderLayer(dims) for _ in range(dims.layers)])
        self.norm = RMSNorm(dims)
        # Made once for the longest sequence, as PaddleNLP's LlamaRotaryEmbedding does.
        for name, table in zip(("cos", "sin"), tables(dims, dims.sequence)):
            self.register_buffer(name, paddle.to_tensor(table[:, None]), persistable=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        return self.norm(x)


class Decoder(nn.Layer):
    """Llama with tied embeddings; ids [B, S] -> logits [B, S, vocab]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.model = Model(dims)
        if dims.lora_rank:  # as PaddleNLP's mark_only_lora_as_trainable
            for name, parameter in self.named_parameters():
                parameter.stop_gradient = ".lora_" not in name

    def forward(self, ids: Tensor) -> Tensor:
        return paddle.matmul(self.model(ids), self.model.embed_tokens.weight, transpose_y=True)
