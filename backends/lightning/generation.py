"""Greedy generation by a LightningModule; the network with its cache, and the loop, are torch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from backends.torch.generation import Cached, Generation, cached
from bench.contract import Cell, Weights


class Server(LightningModule):
    """ids [B, S] at places [S] -> logits of the last, [B, vocab]."""

    def __init__(self, network: Cached) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor, places: Tensor) -> Tensor:
        return self.network(ids, places)


def start(cell: Cell, weights: Weights, prompts: np.ndarray) -> Generation:
    network = cached(cell, weights, prompts)
    module: Any = Server(network).eval()
    if cell.mode == "compiled":
        module = torch.compile(module, dynamic=False)
    return Generation(cell, network, prompts, forward=module)
