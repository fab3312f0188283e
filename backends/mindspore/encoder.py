"""The encoder as MindSpore's users write it: its BERT.

Attributes carry the canonical weight names.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops

from bench.dims import EncoderDims

MASKED = -10000.0  # added to the scores of padding, as MindSpore's BERT does: exp gives exactly 0


class Embeddings(nn.Cell):
    """Word, position and type vectors, summed and normalised; ids [B, S] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(dims.vocab, dims.width)
        self.position_embeddings = nn.Embedding(dims.positions, dims.width)
        self.token_type_embeddings = nn.Embedding(dims.types, dims.width)
        self.LayerNorm = layer_norm(dims)

    def construct(self, ids: Tensor) -> Tensor:
        positions = ops.arange(ids.shape[1])
        # Every token is of type 0, so one row serves all.
        types = self.token_type_embeddings(ops.zeros_like(positions))
        words = self.word_embeddings(ids)
        return self.LayerNorm(words + (self.position_embeddings(positions) + types))


class SelfAttention(nn.Cell):
    """Multi-head attention before its output projection; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.heads = dims.heads
        self.size = dims.width // dims.heads
        self.scale = self.size**-0.5
        self.query = nn.Dense(dims.width, dims.width)
        self.key = nn.Dense(dims.width, dims.width)
        self.value = nn.Dense(dims.width, dims.width)
        self.scores = ops.BatchMatMul(transpose_b=True)
        self.mix = ops.BatchMatMul()

    def split(self, x: Tensor) -> Tensor:
        """[B, S, W] -> [B, heads, S, W / heads]."""
        return x.reshape(-1, x.shape[1], self.heads, self.size).transpose(0, 2, 1, 3)

    def construct(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = self.split(self.query(x)), self.split(self.key(x)), self.value(x)
        weights = ops.softmax(self.scores(query, key) * self.scale + mask, -1)
        mixed = self.mix(weights, self.split(value)).transpose(0, 2, 1, 3)
        return mixed.reshape(-1, x.shape[1], x.shape[2])


class Output(nn.Cell):
    """A projection, the residual and a post-LayerNorm; [B, S, inputs] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims, inputs: int) -> None:
        super().__init__()
        self.dense = nn.Dense(inputs, dims.width)
        self.LayerNorm = layer_norm(dims)

    def construct(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(x) + residual)


class Attention(nn.Cell):
    """Self-attention with its projection and residual; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.self = SelfAttention(dims)
        self.output = Output(dims, dims.width)

    def construct(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.output(self.self(x, mask), x)


class Intermediate(nn.Cell):
    """The widening half of the feed-forward; erf GELU; [B, S, W] -> [B, S, ffn]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.dense = nn.Dense(dims.width, dims.ffn)
        self.gelu = nn.GELU(approximate=False)

    def construct(self, x: Tensor) -> Tensor:
        return self.gelu(self.dense(x))


class Layer(nn.Cell):
    """One encoder layer, post-LayerNorm; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.attention = Attention(dims)
        self.intermediate = Intermediate(dims)
        self.output = Output(dims, dims.ffn)

    def construct(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class Layers(nn.Cell):
    """The stack, under BERT's name ``encoder.layer``."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.layer = nn.CellList([Layer(dims) for _ in range(dims.layers)])

    def construct(self, x: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layer:
            x = layer(x, mask)
        return x


class Pooler(nn.Cell):
    """tanh of a projected first token; [B, S, W] -> [B, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.dense = nn.Dense(dims.width, dims.width)

    def construct(self, x: Tensor) -> Tensor:
        return ops.tanh(self.dense(x[:, 0]))


class Encoder(nn.Cell):
    """BERT for classification; ids, mask [B, S] -> logits [B, classes]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.embeddings = Embeddings(dims)
        self.encoder = Layers(dims)
        self.pooler = Pooler(dims)
        self.classifier = nn.Dense(dims.width, dims.classes)

    def construct(self, ids: Tensor, mask: Tensor) -> Tensor:
        padding = 1.0 - mask.astype(ms.float32)
        # Over heads and query positions; -1, so that no exported graph holds a batch.
        added = padding.reshape(-1, 1, 1, mask.shape[1]) * MASKED
        return self.classifier(self.pooler(self.encoder(self.embeddings(ids), added)))


def layer_norm(dims: EncoderDims) -> nn.LayerNorm:
    return nn.LayerNorm((dims.width,), epsilon=dims.ln_eps)
