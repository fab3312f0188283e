"""Several processes: the engine shares the gradients, and ZeRO splits what its stage says.

As in DeepSpeed's "Getting Started" and "Zero Redundancy Optimizer"; started by its own launcher.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from deepspeed import comm
from torch import nn

from backends.deepspeed.programs import Training
from backends.ranks import free_port, replicas, share
from backends.torch.parallel import slowest
from bench.contract import Batches, Cell, Settings


def launch(cell: Cell) -> list[str]:
    """The command ``deepspeed``; its port is a fixed one unless it is told another."""
    command = [sys.executable, str(Path(sys.executable).with_name("deepspeed")), "--no_local_rank"]
    return [*command, f"--num_accelerators={cell.world_size}", f"--master_port={free_port()}"]


class Parallel(Training):
    """One process's part of the training; its loss is the mean over all processes."""

    def __init__(self, cell: Cell, model: nn.Module, batches: Batches) -> None:
        super().__init__(cell, model, share(cell, batches, rank=comm.get_rank()))
        self.replicas = replicas(cell)

    def loss(self) -> float:
        mean = torch.tensor(super().loss())
        comm.all_reduce(mean)
        return float(mean) / self.cell.world_size

    slowest = slowest

    def facts(self) -> Settings:
        facts = super().facts()
        if facts:
            facts["parallel"] = f"ZeRO stage {facts['zero_stage']}"
            # Of stage 3's parameters each process keeps a part, ds_tensor.
            whole = [one for one in self.model.parameters() if hasattr(one, "ds_tensor")]
            facts["sharded"] = sum(one.ds_tensor.numel() < one.ds_numel for one in whole)
        return facts
