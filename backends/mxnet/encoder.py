"""The encoder as Gluon's users write it: GluonNLP's BERT.

Every layer is told its input width, so no shape is deferred. Structural names are the canonical
ones.
"""

from __future__ import annotations

from typing import Any

from mxnet.gluon import HybridBlock, nn

from backends.mxnet.cnn import sequential
from bench.dims import EncoderDims

MASKED = 1e9  # subtracted from a padded score: exp() of what is left is 0
ANY = 0
"""A ``dims.sequence`` for any length: in ``reshape`` a 0 keeps that dimension."""


def dense(inputs: int, outputs: int, **options: Any) -> nn.Dense:
    """A layer over the last axis; Gluon's default is to flatten the others."""
    return nn.Dense(outputs, in_units=inputs, flatten=False, **options)


def layer_norm(dims: EncoderDims) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=dims.ln_eps, in_channels=dims.width)


class Embeddings(HybridBlock):
    """Word, position and type vectors, summed and normalised; ids [B, S] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.word_embeddings = nn.Embedding(dims.vocab, dims.width)
            self.position_embeddings = nn.Embedding(dims.positions, dims.width)
            self.token_type_embeddings = nn.Embedding(dims.types, dims.width)
            self.LayerNorm = layer_norm(dims)

    def hybrid_forward(self, F: Any, ids: Any) -> Any:
        positions = F.contrib.arange_like(ids, axis=1)
        # Every token is of type 0, so one row serves all.
        types = self.token_type_embeddings(F.zeros_like(positions))
        others = self.position_embeddings(positions) + types
        words = self.word_embeddings(ids)
        return self.LayerNorm(F.broadcast_add(words, F.expand_dims(others, axis=0)))


class SelfAttention(HybridBlock):
    """Multi-head attention before its output projection; [B, S, W] -> [B, S, W].

    Shapes are written out but for the batch, unless the sequence may have ANY length: the ONNX
    exporter knows none of ``reshape``'s -2, -3 and -4.
    """

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.heads, self.sequence = dims.heads, dims.sequence
        self.size = dims.width // dims.heads
        with self.name_scope():
            self.query = dense(dims.width, dims.width)
            self.key = dense(dims.width, dims.width)
            self.value = dense(dims.width, dims.width)

    def hybrid_forward(self, F: Any, x: Any, bias: Any) -> Any:
        layers = (self.query, self.key, self.value)
        query, key, value = (self.split(F, layer(x)) for layer in layers)
        scores = F.batch_dot(query * self.size**-0.5, key, transpose_b=True)
        scores = self.unfold(F, scores, self.sequence)
        shares = F.softmax(F.broadcast_add(scores, bias), axis=-1)
        shares = self.fold(F, shares, self.sequence)
        out = self.unfold(F, F.batch_dot(shares, value), self.size)
        out = F.transpose(out, (0, 2, 1, 3))
        return F.reshape(out, (-1, self.sequence, self.heads * self.size))

    def split(self, F: Any, x: Any) -> Any:
        """[B, S, W] -> [B * heads, S, size]."""
        x = F.reshape(x, (-1, self.sequence, self.heads, self.size))
        return self.fold(F, F.transpose(x, (0, 2, 1, 3)), self.size)

    def fold(self, F: Any, x: Any, last: int) -> Any:
        """[B, heads, S, last] -> [B * heads, S, last]."""
        return F.reshape(x, (-3, -2) if self.sequence == ANY else (-1, self.sequence, last))

    def unfold(self, F: Any, x: Any, last: int) -> Any:
        """[B * heads, S, last] -> [B, heads, S, last]."""
        written = (-1, self.heads, self.sequence, last)
        return F.reshape(x, (-4, -1, self.heads, -2) if self.sequence == ANY else written)


class Output(HybridBlock):
    """A projection, the residual and a post-LayerNorm; [B, S, inputs] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims, inputs: int) -> None:
        super().__init__()
        with self.name_scope():
            self.dense = dense(inputs, dims.width)
            self.LayerNorm = layer_norm(dims)

    def hybrid_forward(self, F: Any, x: Any, residual: Any) -> Any:
        return self.LayerNorm(self.dense(x) + residual)


class Attention(HybridBlock):
    """Self-attention with its projection and residual; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.self = SelfAttention(dims)
            self.output = Output(dims, dims.width)

    def hybrid_forward(self, F: Any, x: Any, bias: Any) -> Any:
        return self.output(self.self(x, bias), x)


class Intermediate(HybridBlock):
    """The widening half of the feed-forward; Gluon's GELU is erf; [B, S, W] -> [B, S, ffn]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.dense = dense(dims.width, dims.ffn)
            self.gelu = nn.GELU()

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.gelu(self.dense(x))


class Layer(HybridBlock):
    """One encoder layer, post-LayerNorm; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.attention = Attention(dims)
            self.intermediate = Intermediate(dims)
            self.output = Output(dims, dims.ffn)

    def hybrid_forward(self, F: Any, x: Any, bias: Any) -> Any:
        x = self.attention(x, bias)
        return self.output(self.intermediate(x), x)


class Layers(HybridBlock):
    """The stack, under BERT's name ``encoder.layer``."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.layer = sequential(*(Layer(dims) for _ in range(dims.layers)))

    def hybrid_forward(self, F: Any, x: Any, bias: Any) -> Any:
        for layer in self.layer:
            x = layer(x, bias)
        return x


class Pooler(HybridBlock):
    """tanh of a projected first token; [B, S, W] -> [B, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.dense = dense(dims.width, dims.width, activation="tanh")

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.dense(F.squeeze(F.slice_axis(x, axis=1, begin=0, end=1), axis=1))


class Encoder(HybridBlock):
    """BERT for classification; ids, mask [B, S], integers -> logits [B, classes]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.embeddings = Embeddings(dims)
            self.encoder = Layers(dims)
            self.pooler = Pooler(dims)
            self.classifier = dense(dims.width, dims.classes)

    def hybrid_forward(self, F: Any, ids: Any, mask: Any) -> Any:
        bias = (F.cast(mask, dtype="float32") - 1) * MASKED
        bias = F.expand_dims(F.expand_dims(bias, axis=1), axis=1)
        return self.classifier(self.pooler(self.encoder(self.embeddings(ids), bias)))
