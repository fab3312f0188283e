"""Several processes: the strategy ``ddp``, or ``ModelParallelStrategy`` where it shards.

As in Lightning's "GPU training (Intermediate)" and "2D Parallelism"; started by torchrun, as in its
"Run on an on-prem cluster". Its own launcher starts the others only when ``fit`` begins.
"""

from __future__ import annotations

import torch
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from torch import nn

from backends.lightning.programs import Classifier, Training
from backends.ranks import replicas, share
from backends.torch.parallel import SHARDED, evaluate, shard, sharded, slowest
from bench.contract import Batches, Cell, Settings


class Sharded(Classifier):
    """The hook in which a LightningModule applies FSDP2 to itself, over all of the processes."""

    def configure_model(self) -> None:
        shard(self.network)


def strategy(cell: Cell) -> str | Strategy:
    """Not ``FSDPStrategy`` where it shards: that one "requires a GPU accelerator"."""
    if SHARDED not in cell.settings:
        return "ddp"
    return ModelParallelStrategy(data_parallel_size=cell.world_size, tensor_parallel_size=1)


class Parallel(Training):
    """One process's part of the training; its loss is the mean over all processes."""

    def __init__(self, cell: Cell, model: nn.Module, batches: Batches) -> None:
        kind = Sharded if SHARDED in cell.settings else Classifier
        own = share(cell, batches, rank=torch.distributed.get_rank())
        super().__init__(cell, model, own, kind=kind, strategy=strategy(cell))
        self.replicas = replicas(cell)

    def loss(self) -> float:
        return float(self.trainer.strategy.reduce(torch.tensor(super().loss()), reduce_op="mean"))

    infer = evaluate
    slowest = slowest

    def facts(self) -> Settings:
        facts = super().facts()
        if facts:
            facts["parallel"] = facts["strategy"]
            facts["sharded"] = sharded(self.model)
            facts["communication"] = torch.distributed.get_backend()
        return facts
