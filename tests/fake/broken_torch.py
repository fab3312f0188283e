"""The torch adapter with one mistake planted in its model: ``--setting break=bn_eps`` and the like.

Each is a difference that frameworks really have in their defaults, or a slip that a port makes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from backends.torch import adapter, decoder, encoder
from bench.contract import Batches, Cell, Program, Weights

NAME = "broken_torch"
DIST = adapter.DIST
devices = adapter.devices
setup = adapter.setup
effective = adapter.effective
gemm = adapter.gemm
stream = adapter.stream
peak_device_bytes = adapter.peak_device_bytes
launch = adapter.launch
allreduce = adapter.allreduce


def unsupported(cell: Cell) -> str | None:
    return adapter.unsupported(dataclasses.replace(cell, settings={}))


def build(cell: Cell, weights: Weights, batches: Batches) -> Program:
    what = cell.settings["break"]
    if what in DIMS:
        cell = dataclasses.replace(cell, dims=dataclasses.replace(cell.dims, **DIMS[what]))
    if what == "transposed_dense":
        name = "encoder.layer.0.attention.self.query.weight"
        weights = {**weights, name: weights[name].T.copy()}
    if what in FUNCTIONS:
        FUNCTIONS[what]()
    program: Any = adapter.build(cell, weights, batches)
    if what in MODELS:
        MODELS[what](program.model)
    if what == "coupled_decay":
        asked = cell.optimizer
        program.optimizer = torch.optim.Adam(
            program.model.parameters(), lr=asked.lr, eps=asked.eps, weight_decay=asked.weight_decay
        )
    return program


def tanh_gelu() -> None:
    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(self.dense(x), approximate="tanh")

    encoder.Intermediate.forward = forward


def summed_loss() -> None:
    mean = F.cross_entropy
    F.cross_entropy = lambda *given: mean(*given, reduction="sum")


def heads_by_turns() -> None:
    """Queries 0, 1, 2, 3 share the keys 0, 1, 0, 1, and not 0, 0, 1, 1."""
    attend = F.scaled_dot_product_attention

    def turns(query: Any, key: Any, value: Any, **how: Any) -> Any:
        times = query.shape[1] // key.shape[1]
        return attend(query, *(one.repeat(1, times, 1, 1) for one in (key, value)), **how)

    F.scaled_dot_product_attention = turns


def adjacent_pairs() -> None:
    """Rotary positions as in the paper and in Meta's own files: x[0] turns with x[1]."""

    def turn(x: Any, by: Any) -> Any:
        cos, sin = (one[:, : x.shape[-1] // 2] for one in by)
        first, second = x[..., ::2], x[..., 1::2]
        turned = (first * cos - second * sin, second * cos + first * sin)
        return torch.stack(turned, dim=-1).flatten(-2)

    decoder.turn = turn


def no_adapter_of_keys(model: nn.Module) -> None:
    for layer in model.model.layers:
        layer.self_attn.k_proj.scale = 0.0


def nothing_frozen(model: nn.Module) -> None:
    model.requires_grad_(requires_grad=True)


def decayed(model: nn.Module) -> None:
    """The frozen weights are none of the optimizer's, and yet something moves them."""
    moved = model.model.norm.weight

    def move(*_: Any) -> None:
        if model.training:
            moved.data.mul_(1 - 1e-7)

    model.register_forward_hook(move)


def pad_like_same(model: nn.Module) -> None:
    """The asymmetric padding that "same" means at stride 2 in other frameworks."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2) and layer.kernel_size == (3, 3):
            layer.padding = (0, 0)
            layer.register_forward_pre_hook(lambda _, given: (F.pad(given[0], (0, 1, 0, 1)),))


DIMS: dict[str, dict[str, float]] = {
    "bn_eps": {"bn_eps": 1e-3},
    "bn_momentum": {"bn_momentum": 0.01},
    "norm_eps": {"norm_eps": 1e-6},
    "lora_scale": {"lora_alpha": 8.0},
}
FUNCTIONS: dict[str, Callable[[], None]] = {
    "tanh_gelu": tanh_gelu,
    "summed_loss": summed_loss,
    "heads_by_turns": heads_by_turns,
    "adjacent_pairs": adjacent_pairs,
}
MODELS: dict[str, Callable[[nn.Module], None]] = {
    "asymmetric_padding": pad_like_same,
    "no_adapter_of_keys": no_adapter_of_keys,
    "nothing_frozen": nothing_frozen,
    "decayed": decayed,
}
