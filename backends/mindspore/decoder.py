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

Places = tuple[Tensor, Tensor, Tensor]
"""Of S tokens: cosines and sines of the rotary angles [S, width of a head], as ``turn`` has them,
and what is added to the scores to hide keys, [S, keys]."""


def places(dims: DecoderDims, length: int) -> Places:
    """Of the first ``length`` tokens, each of which sees those up to itself."""
    future = np.triu(np.full((length, length), MASKED, np.float32), k=1)
    cos, sin = tables(dims, length)
    sin[:, : dims.head_width // 2] *= -1
    return Tensor(cos), Tensor(sin), Tensor(future)


def dense(inputs: int, outputs: int) -> nn.Dense:
    return nn.Dense(inputs, outputs, has_bias=False)


class LoraDense(nn.Dense):
    """A frozen layer with a trained adapter beside it (LoRA); [B, S, W] -> [B, S, outputs]."""

    def __init__(self, dims: DecoderDims, outputs: int) -> None:
        super().__init__(dims.width, outputs, has_bias=False)
        self.scale = dims.lora_scale
        self.lora_A = dense(dims.width, dims.lora_rank)
        self.lora_B = dense(dims.lora_rank, outputs)

    def construct(self, x: Tensor) -> Tensor:
        return super().construct(x) + self.lora_B(self.lora_A(x)) * self.scale


def projection(dims: DecoderDims, outputs: int) -> nn.Dense:
    """[B, S, W] -> [B, S, outputs], with an adapter where the dims have one."""
    return LoraDense(dims, outputs) if dims.lora_rank else dense(dims.width, outputs)


class RMSNorm(nn.Cell):
    """[B, S, W] -> the same, composed: "The kernel RmsNorm unregistered." on a CPU.

    Its CPU kernels are slow wherever shapes differ, or more than two dimensions are reduced: of
    [1024, 256] a product with [1024, 1] takes 1.1 ms instead of 0.1, the mean of [8, 128, 256] as
    long. A tiled factor, which is copied in 0.1 ms, spares that in both passes.
    """

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.eps, self.width = dims.norm_eps, dims.width
        self.weight = Parameter(Tensor(np.ones(dims.width, np.float32)))

    def construct(self, x: Tensor) -> Tensor:
        wide = x.reshape(-1, self.width).astype(ms.float32)
        size = ops.rsqrt(ops.mean(ops.square(wide), -1, keep_dims=True) + self.eps)
        even = (wide * ops.tile(size, (1, self.width))).astype(x.dtype)
        return (even * ops.tile(self.weight, (wide.shape[0], 1))).reshape(x.shape)


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on [B, heads, S, width of a head], of angles [S, width of a head]; the
    first half of the sines is negative.
    """
    first, second = ops.split(x, x.shape[3] // 2, -1)
    if x.shape[2] > 1:  # of equal shapes products are 10 times as fast; one token's are small
        copies = (x.shape[0], x.shape[1], 1, 1)
        cos, sin = ops.tile(cos, copies), ops.tile(sin, copies)
    return x * cos.astype(x.dtype) + ops.cat((second, first), -1) * sin.astype(x.dtype)


class Attention(nn.Cell):
    """Causal grouped-query attention; [B, S, W] -> [B, S, W].

    past: of its keys and values a cache (backends/mindspore/generation.py), or None.
    """

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.size = dims.heads, dims.kv_heads, dims.head_width
        self.scale = self.size**-0.5
        shared = dims.kv_heads * dims.head_width
        self.q_proj = projection(dims, dims.width)
        self.k_proj = projection(dims, shared)
        self.v_proj = projection(dims, shared)
        self.o_proj = projection(dims, dims.width)
        self.places = places(dims, dims.sequence)
        self.past: nn.Cell | None = None
        self.scores = ops.BatchMatMul(transpose_b=True)
        self.mix = ops.BatchMatMul()

    def split(self, x: Tensor, heads: int) -> Tensor:
        """[B, S, heads * size] -> [B, heads, S, size]."""
        return x.reshape(-1, x.shape[1], heads, self.size).transpose(0, 2, 1, 3)

    def weigh(self, scores: Tensor, hidden: Tensor) -> Tensor:
        """Softmax of [B, kv_heads, queries, keys] under ``hidden`` [S, keys], added to each head's.

        In two dimensions, and with a tiled mask: of other shapes the sum takes 8 ms instead of 1,
        and softmax's gradient twice as long.
        """
        rows = scores.reshape(-1, scores.shape[3])
        hidden = hidden.astype(rows.dtype)
        if hidden.shape[0] > 1:
            hidden = ops.tile(hidden, (rows.shape[0] // hidden.shape[0], 1))
        return ops.softmax(rows + hidden, -1).reshape(scores.shape)

    def construct(self, x: Tensor, at: Places | None = None, rows: Tensor | None = None) -> Tensor:
        cos, sin, hidden = self.places if at is None else at
        query = turn(self.split(self.q_proj(x), self.heads), cos, sin) * self.scale
        key = turn(self.split(self.k_proj(x), self.kv_heads), cos, sin)
        value = self.split(self.v_proj(x), self.kv_heads)
        if self.past is not None:
            key, value = self.past(key, value, rows)
        # Heads that share keys are further queries of them: so no key is repeated.
        rows = query.shape[2] * self.heads // self.kv_heads
        together = query.reshape(-1, self.kv_heads, rows, self.size)
        mixed = self.mix(self.weigh(self.scores(together, key), hidden), value)
        mixed = mixed.reshape(query.shape).transpose(0, 2, 1, 3)
        return self.o_proj(mixed.reshape(x.shape))


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

    def construct(self, x: Tensor, at: Places | None = None, rows: Tensor | None = None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), at, rows)
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
        if dims.lora_rank:
            for name, parameter in self.parameters_and_names():
                parameter.requires_grad = ".lora_" in name

    def construct(self, ids: Tensor) -> Tensor:
        x = self.model(ids)
        table = self.model.embed_tokens.embedding_table.astype(x.dtype)
        logits = self.head(x.reshape(-1, x.shape[2]), table)
        return logits.reshape(-1, ids.shape[1], table.shape[0])
