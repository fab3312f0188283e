"""The decoder as PyTorch's users write it: Hugging Face's Llama over SDPA, tied embeddings.

``state_dict`` keys are the canonical weight names.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.dims import DecoderDims

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines of the rotary angles, [S, width of a head]."""


class Past(Protocol):
    """One layer's keys and values of the tokens before: a cache (backends/torch/generation.py)."""

    def extend(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Takes those of the tokens at hand, [B, kv_heads, S, width of a head]; keys and values to
        attend to, and which of them each query sees, [S, all]; None: causally, for they are alike.
        """


def rotation(dims: DecoderDims, like: Tensor) -> Rotation:
    """For x [B, S, W], in its type, of the angles place / theta^(2i/d), each for both halves.

    The angles themselves in float64: float32's are off by 3e-5 at the 512th place.
    """
    exact = {"dtype": torch.float64, "device": like.device}
    half = dims.head_width // 2
    rates = dims.rope_theta ** (-torch.arange(half, **exact) / half)
    angles = torch.outer(torch.arange(like.shape[1], **exact), rates).repeat(1, 2)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def turn(x: Tensor, by: Rotation) -> Tensor:
    """Rotary positions on [B, heads, S, width of a head]; pairs are (x[i], x[i + d/2])."""
    cos, sin = by
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class LoraLinear(nn.Linear):
    """A frozen layer with a trained adapter beside it (LoRA), as peft has it; [..., in] ->
    [..., out].
    """

    def __init__(self, dims: DecoderDims, outputs: int) -> None:
        super().__init__(dims.width, outputs, bias=False)
        self.scale = dims.lora_scale
        self.lora_A = nn.Linear(dims.width, dims.lora_rank, bias=False)
        self.lora_B = nn.Linear(dims.lora_rank, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.lora_B(self.lora_A(x)) * self.scale


def projection(dims: DecoderDims, outputs: int) -> nn.Linear:
    """[B, S, W] -> [B, S, outputs], with an adapter where the dims have one."""
    if dims.lora_rank:
        return LoraLinear(dims, outputs)
    return nn.Linear(dims.width, outputs, bias=False)


class Attention(nn.Module):
    """Causal grouped-query attention; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.head_width = dims.head_width
        shared = dims.kv_heads * dims.head_width
        self.q_proj = projection(dims, dims.width)
        self.k_proj = projection(dims, shared)
        self.v_proj = projection(dims, shared)
        self.o_proj = projection(dims, dims.width)

    def forward(self, x: Tensor, by: Rotation, past: Past | None = None) -> Tensor:
        query, key, value = (
            layer(x).unflatten(-1, (-1, self.head_width)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key, seen = turn(query, by), turn(key, by), None
        if past is not None:
            key, value, seen = past.extend(key, value)
        out = F.scaled_dot_product_attention(
            query, key, value, attn_mask=seen, is_causal=seen is None, enable_gqa=True
        )
        return self.o_proj(out.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """SwiGLU; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(dims.width, dims.ffn, bias=False)
        self.up_proj = nn.Linear(dims.width, dims.ffn, bias=False)
        self.down_proj = nn.Linear(dims.ffn, dims.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    """One decoder layer, each half behind its RMSNorm; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(dims.width, eps=dims.norm_eps)
        self.self_attn = Attention(dims)
        self.post_attention_layernorm = nn.RMSNorm(dims.width, eps=dims.norm_eps)
        self.mlp = Mlp(dims)

    def forward(self, x: Tensor, by: Rotation, past: Past | None = None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), by, past)
        return x + self.mlp(self.post_attention_layernorm(x))


class Model(nn.Module):
    """All but the head; ids [B, S] -> [B, S, W]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.dims = dims
        self.embed_tokens = nn.Embedding(dims.vocab, dims.width)
        self.layers = nn.ModuleList(DecoderLayer(dims) for _ in range(dims.layers))
        self.norm = nn.RMSNorm(dims.width, eps=dims.norm_eps)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed_tokens(ids)
        by = rotation(self.dims, x)
        for layer in self.layers:
            x = layer(x, by)
        return self.norm(x)


class Decoder(nn.Module):
    """Llama with tied embeddings; ids [B, S] -> logits [B, S, vocab]."""

    def __init__(self, dims: DecoderDims) -> None:
        super().__init__()
        self.model = Model(dims)
        if dims.lora_rank:
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(".lora_" in name)

    def forward(self, ids: Tensor) -> Tensor:
        return F.linear(self.model(ids), self.model.embed_tokens.weight)
