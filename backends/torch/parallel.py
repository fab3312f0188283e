"""Several processes: DistributedDataParallel, or FSDP2 where parameters are sharded.

As in PyTorch's tutorials "Getting Started with Distributed Data Parallel" and "Getting Started
with Fully Sharded Data Parallel (FSDP2)"; started by torchrun.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from backends.ranks import replicas, share
from backends.torch import models
from backends.torch.placing import device
from backends.torch.programs import Inference, Training, compiled, synchronize
from bench.contract import Batches, Cell, Kernel, Settings
from bench.rendezvous import Rendezvous

SHARDED = "sharding"
"""The setting: parameters, gradients and optimizer state are split over the processes."""


def launch(cell: Cell, at: Rendezvous) -> list[str]:
    """torchrun; ``--standalone`` finds a free port itself."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={cell.processes}"]
    if at.nodes == 1:
        return [*torchrun, "--standalone"]
    torchrun += [f"--nnodes={at.nodes}", f"--node-rank={at.node_rank}"]
    return [*torchrun, f"--master-addr={at.host}", f"--master-port={at.port}"]


def start(cell: Cell) -> None:
    """Join the other processes: over gloo on CPUs, NCCL (RCCL) on GPUs, of which each has one."""
    if cell.world_size == 1 or distributed.is_initialized():
        return
    if device(cell).type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("gloo" if device(cell).type == "cpu" else "nccl")


def allreduce(cell: Cell, n: int) -> Kernel | None:
    """Sums n float32 numbers over the processes, in place."""
    if not distributed.is_initialized():
        return None
    numbers = torch.ones(n, device=device(cell))
    return Kernel(lambda: distributed.all_reduce(numbers), lambda _: synchronize(cell))


def slowest(program: Inference, values: Sequence[float]) -> list[float]:
    """``Program.slowest`` of one among several processes."""
    largest = torch.tensor(values, dtype=torch.float64, device=device(program.cell))
    distributed.all_reduce(largest, distributed.ReduceOp.MAX)
    found: list[float] = largest.tolist()
    return found


def sharded(model: nn.Module) -> int:
    """How many parameters are split; their gradients and moments are with them."""
    return sum(isinstance(parameter, DTensor) for parameter in model.parameters())


def evaluate(program: Inference, index: int) -> None:
    """``infer`` of a model that may be sharded.

    Not in inference_mode: FSDP2 frees and refills the parameters' memory in between.
    """
    program.model.eval()
    with torch.no_grad(), program.autocast:
        program.output = program.model(*program.inputs[index])


class Parallel(Training):
    """One process's part of the training; its loss is the mean over all processes."""

    def __init__(self, cell: Cell, model: nn.Module, batches: Batches) -> None:
        self.whole = shard(model) if SHARDED in cell.settings else DistributedDataParallel(model)
        own = share(cell, batches, rank=distributed.get_rank())
        super().__init__(cell, model, own, forward=compiled(cell, self.whole))
        self.replicas = replicas(cell)

    def loss(self) -> float:
        mean = torch.tensor(super().loss()) / self.cell.world_size
        mean = mean.to(device(self.cell))
        distributed.all_reduce(mean)
        return float(mean)

    infer = evaluate
    slowest = slowest

    def frozen(self) -> Iterator[np.ndarray]:
        for one in models.kept(self.model):
            whole = one.full_tensor() if isinstance(one, DTensor) else one
            yield whole.numpy(force=True)

    def facts(self) -> Settings:
        facts = super().facts()
        if facts:
            facts["parallel"] = type(self.whole).__name__
            facts["sharded"] = sharded(self.model)
            facts["communication"] = distributed.get_backend()
        return facts


def shard(model: nn.Module) -> nn.Module:
    """Each layer of a stack is a unit whose parameters are gathered while it computes."""
    for stack in model.modules():
        if isinstance(stack, nn.ModuleList):
            for layer in stack:
                fully_shard(layer)
    return fully_shard(model)
