"""The encoder as PyTorch's users write it: BERT over SDPA.

``state_dict`` keys are the canonical weight names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.dims import EncoderDims


class Embeddings(nn.Module):
    """Word, position and type vectors, summed and normalised; ids [B, S] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(dims.vocab, dims.width)
        self.position_embeddings = nn.Embedding(dims.positions, dims.width)
        self.token_type_embeddings = nn.Embedding(dims.types, dims.width)
        self.LayerNorm = nn.LayerNorm(dims.width, eps=dims.ln_eps)

    def forward(self, ids: Tensor) -> Tensor:
        positions = torch.arange(ids.shape[1], device=ids.device)
        # Every token is of type 0, so one row serves all.
        types = self.token_type_embeddings(torch.zeros_like(positions))
        words = self.word_embeddings(ids)
        return self.LayerNorm(words + (self.position_embeddings(positions) + types))


class SelfAttention(nn.Module):
    """Multi-head attention before its output projection; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.heads = dims.heads
        self.query = nn.Linear(dims.width, dims.width)
        self.key = nn.Linear(dims.width, dims.width)
        self.value = nn.Linear(dims.width, dims.width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return out.transpose(1, 2).flatten(2)


class Output(nn.Module):
    """A projection, the residual and a post-LayerNorm; [B, S, inputs] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims, inputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, dims.width)
        self.LayerNorm = nn.LayerNorm(dims.width, eps=dims.ln_eps)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(x) + residual)


class Attention(nn.Module):
    """Self-attention with its projection and residual; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.self = SelfAttention(dims)
        self.output = Output(dims, dims.width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.output(self.self(x, mask), x)


class Intermediate(nn.Module):
    """The widening half of the feed-forward; erf GELU; [B, S, W] -> [B, S, ffn]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.dense = nn.Linear(dims.width, dims.ffn)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.dense(x))


class Layer(nn.Module):
    """One encoder layer, post-LayerNorm; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.attention = Attention(dims)
        self.intermediate = Intermediate(dims)
        self.output = Output(dims, dims.ffn)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class Layers(nn.Module):
    """The stack, under BERT's name ``encoder.layer``."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(dims) for _ in range(dims.layers))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for layer in self.layer:
            x = layer(x, mask)
        return x


class Pooler(nn.Module):
    """tanh of a projected first token; [B, S, W] -> [B, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.dense = nn.Linear(dims.width, dims.width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.dense(x[:, 0]))


class Encoder(nn.Module):
    """BERT for classification; ids, mask [B, S] -> logits [B, classes].

    masked: False where no batch has padding, and the mask is to be left out.
    """

    masked = True

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.embeddings = Embeddings(dims)
        self.encoder = Layers(dims)
        self.pooler = Pooler(dims)
        self.classifier = nn.Linear(dims.width, dims.classes)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        # Broadcast over heads and query positions.
        real = mask.bool()[:, None, None, :] if self.masked else None
        return self.classifier(self.pooler(self.encoder(self.embeddings(ids), real)))
