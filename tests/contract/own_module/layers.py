"""Beside the module: what it imports is part of what it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Scaled(nn.Module):
    """Divides by a running mean of sizes, a buffer that training changes; [B, ...] -> [B, ...]."""

    def __init__(self) -> None:
        super().__init__()
        self.size = nn.Buffer(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.size.lerp_(x.abs().mean(), 0.1)
        return x / self.size
