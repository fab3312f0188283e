"""The encoder as Paddle's users write it: PaddleNLP's BERT.

Attributes carry the canonical weight names.
"""

from __future__ import annotations

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from bench.dims import EncoderDims


class Embeddings(nn.Layer):
    """Word, position and type vectors, summed and normalised; ids [B, S] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(dims.vocab, dims.width)
        self.position_embeddings = nn.Embedding(dims.positions, dims.width)
        self.token_type_embeddings = nn.Embedding(dims.types, dims.width)
        self.LayerNorm = nn.LayerNorm(dims.width, epsilon=dims.ln_eps)

    def forward(self, ids: Tensor) -> Tensor:
        positions = paddle.arange(ids.shape[1], dtype="int64")
        # Every token is of type 0, so one row serves all.
        types = self.token_type_embeddings(paddle.zeros_like(positions))
        words = self.word_embeddings(ids)
        return self.LayerNorm(words + (self.position_embeddings(positions) + types))


class SelfAttention(nn.Layer):
    """Multi-head attention before its output projection; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.heads = dims.heads
        self.head_width = dims.width // dims.heads
        self.query = nn.Linear(dims.width, dims.width)
        self.key = nn.Linear(dims.width, dims.width)
        self.value = nn.Linear(dims.width, dims.width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        # [B, S, heads, head]: Paddle's own order, unlike PyTorch's. A 0 keeps that dimension.
        shape = [0, 0, self.heads, self.head_width]
        query, key, value = (
            self.query(x).reshape(shape),
            self.key(x).reshape(shape),
            self.value(x).reshape(shape),
        )
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return out.reshape([0, 0, self.heads * self.head_width])


class Output(nn.Layer):
    """A projection, the residual and a post-LayerNorm; [B, S, inputs] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims, inputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, dims.width)
        self.LayerNorm = nn.LayerNorm(dims.width, epsilon=dims.ln_eps)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(x) + residual)


class Attention(nn.Layer):
    """Self-attention with its projection and residual; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.self = SelfAttention(dims)
        self.output = Output(dims, dims.width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.output(self.self(x, mask), x)


class Intermediate(nn.Layer):
    """The widening half of the feed-forward; erf GELU; [B, S, W] -> [B, S, ffn]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.dense = nn.Linear(dims.width, dims.ffn)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.dense(x))


class EncoderLayer(nn.Layer):
    """One encoder layer, post-LayerNorm; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.attention = Attention(dims)
        self.intermediate = Intermediate(dims)
        self.output = Output(dims, dims.ffn)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class Layers(nn.Layer):
    """The stack, under BERT's name ``encoder.layer``."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.layer = nn.LayerList([EncoderLayer(dims) for _ in range(dims.layers)])

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layer:
            x = layer(x, mask)
        return x


class Pooler(nn.Layer):
    """tanh of a projected first token; [B, S, W] -> [B, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.dense = nn.Linear(dims.width, dims.width)

    def forward(self, x: Tensor) -> Tensor:
        return paddle.tanh(self.dense(x[:, 0]))


class Encoder(nn.Layer):
    """BERT for classification; ids, mask [B, S] -> logits [B, classes]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.embeddings = Embeddings(dims)
        self.encoder = Layers(dims)
        self.pooler = Pooler(dims)
        self.classifier = nn.Linear(dims.width, dims.classes)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        # Added to the scores, as PaddleNLP's BERT does: a bool mask is converted in every layer.
        hidden = (1.0 - mask.astype("float32")).unsqueeze([1, 2]) * -1e4
        return self.classifier(self.pooler(self.encoder(self.embeddings(ids), hidden)))
