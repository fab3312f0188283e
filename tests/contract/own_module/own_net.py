"""A network as a user would bring it: two inputs, dropout, buffers, a loss of its own."""

from __future__ import annotations

import torch
from layers import Scaled
from torch import Tensor, nn
from torch.nn import functional as F


class Net(nn.Module):
    """image [B, 3, 16, 16] and features [B, 5] -> [B, 2]."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.scaled = Scaled()
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(width + 5, 2)

    def forward(self, image: Tensor, features: Tensor) -> Tensor:
        seen = F.relu(self.norm(self.conv(image))).mean(dim=(2, 3))
        return self.head(self.dropout(torch.cat([self.scaled(seen), features], dim=1)))


def make() -> Net:
    print("a user's code may print")
    return Net()


def example(batch: int, generator: torch.Generator) -> tuple[tuple[Tensor, Tensor], Tensor]:
    image = torch.randn(batch, 3, 16, 16, generator=generator)
    features = torch.rand(batch, 5, generator=generator)
    return (image, features), torch.rand(batch, 2, generator=generator)


def loss(outputs: Tensor, target: Tensor) -> Tensor:
    return F.smooth_l1_loss(outputs, target)
