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

from backends.torch import adapter, encoder
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


def pad_like_same(model: nn.Module) -> None:
    """The asymmetric padding that "same" means at stride 2 in other frameworks."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2) and layer.kernel_size == (3, 3):
            layer.padding = (0, 0)
            layer.register_forward_pre_hook(lambda _, given: (F.pad(given[0], (0, 1, 0, 1)),))


DIMS: dict[str, dict[str, float]] = {
    "bn_eps": {"bn_eps": 1e-3},
    "bn_momentum": {"bn_momentum": 0.01},
}
FUNCTIONS: dict[str, Callable[[], None]] = {"tanh_gelu": tanh_gelu, "summed_loss": summed_loss}
MODELS: dict[str, Callable[[nn.Module], None]] = {"asymmetric_padding": pad_like_same}
