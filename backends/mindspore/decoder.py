"""The decoder as MindSpore's users write it: MindFormers' Llama, tied embeddings.

Attributes carry the canonical weight names.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from backends.mindspore.encoder import MASKED
from backends.rotary import tables
from bench.dims import DecoderDims


def dense(inputs: int, outputs: int) -> nn.Dense:
    return nn.Dense(inputs, outputs, has_bias=False)


class RMSNorm(nn.Cell):
    """[B, S, W] -> the same, composed: "The kernel RmsNorm unregistered." on a CPU."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.eps = dims.norm_eps
        self.weight = Parameter(Tensor(np.ones(dims.width, np.float32)))

    def construct(self, x: Tensor) -> Tensor:
        wide = x.astype(ms.float32)
        size = ops.rsqrt(ops.mean(ops.square(wide), -1, keep_dims=True) + self.eps)
        return (wide * size).astype(x.dtype) * self.weight


class Rotary(nn.Cell):
    """Rotary positions on [B, heads, S, width of a head]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.half = dims.head_width // 2
        self.cos, self.sin = (Tensor(one) for one in tables(dims, dims.sequence))

    def construct(self, x: Tensor) -> Tensor:
        first, second = ops.split(x, self.half, -1)
        turned = ops.cat((-second, first), -1)
        return x * self.cos.astype(x.dtype) + turned * self.sin.astype(x.dtype)


class Attention(nn.Cell):
    """Causal grouped-query attention; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.size = dims.heads, dims.kv_heads, dims.head_width
        self.scale = self.size**-0.5
        shared = dims.kv_heads * dims.head_width
        self.q_proj = dense(dims.width, dims.width)
        self.k_proj = dense(dims.width, shared)
        self.v_proj = dense(dims.width, shared)
        self.o_proj = dense(dims.width, dims.width)
        self.turn = Rotary(dims)
        self.future = Tensor(np.triu(np.full((dims.sequence,) * 2, MASKED, np.float32), k=1))
        self.scores = ops.BatchMatMul(transpose_b=True)
        self.mix = ops.BatchMatMul()

    def split(self, x: Tensor, heads: int) -> Tensor:
        """[B, S, heads * size] -> [B, heads, S, size]."""
        return x.reshape(-1, x.shape[1], heads, self.size).transpose(0, 2, 1, 3)

    def repeat(self, x: Tensor) -> Tensor:
        """Each head as often as queries share it; [B, kv_heads, S, size] -> [B, heads, S, size]."""
        rows = x.shape[2]
        x = x.reshape(-1, self.kv_heads, 1, rows * self.size)
        x = ops.tile(x, (1, 1, self.heads // self.kv_heads, 1))
        return x.reshape(-1, self.heads, rows, self.size)

    def construct(self, x: Tensor) -> Tensor:
        query = self.turn(self.split(self.q_proj(x), self.heads))
        key = self.repeat(self.turn(self.split(self.k_proj(x), self.kv_heads)))
        value = self.repeat(self.split(self.v_proj(x), self.kv_heads))
        scores = self.scores(query, key) * self.scale + self.future.astype(x.dtype)
        mixed = self.mix(ops.softmax(scores, -1), value).transpose(0, 2, 1, 3)
        return self.o_proj(mixed.reshape(-1, x.shape[1], x.shape[2]))


class Mlp(nn.Cell):
    """SwiGLU; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.gate_proj = dense(dims.width, dims.ffn)
        self.up_proj = dense(dims.width, dims.ffn)
        self.down_proj = dense(dims.ffn, dims.width)

    def construct(self, x: Tensor) -> Tensor:
        return self.down_proj(ops.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Cell):
    """One decoder layer, each half behind its RMSNorm; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(dims)
        self.self_attn = Attention(dims)
        self.post_attention_layernorm = RMSNorm(dims)
        self.mlp = Mlp(dims)

    def construct(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Model(nn.Cell):
    """All but the head; ids [B, S] -> [B, S, W]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(dims.vocab, dims.width)
        self.layers = nn.CellList([DecoderLayer(dims) for _ in range(dims.layers)])
        self.norm = RMSNorm(dims)

    def construct(self, ids: Tensor) -> Tensor:
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class Decoder(nn.Cell):
    """Llama with tied embeddings; ids [B, S] -> logits [B, S, vocab]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.model = Model(dims)
        self.head = ops.MatMul(transpose_b=True)

    def construct(self, ids: Tensor) -> Tensor:
        x = self.model(ids)
        table = self.model.embed_tokens.embedding_table.astype(x.dtype)
        logits = self.head(x.reshape(-1, x.shape[2]), table)
        return logits.reshape(-1, ids.shape[1], table.shape[0])
