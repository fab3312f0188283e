"""Several processes: paddle.DataParallel, or fleet's sharding of the optimizer.

As in Paddle's guides "Data parallelism" and, where the setting asks for it, "Group sharded
parallelism" in fleet's form: group_sharded_parallel "only support gpu, xpu and custom_device now".
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

import paddle
from paddle import distributed, nn
from paddle.distributed import fleet
from paddle.jit.dy2static.program_translator import StaticFunction

from backends import answers
from backends.paddle import models
from backends.paddle.programs import Training
from backends.ranks import replicas, share, synchronised
from bench.contract import Batches, Cell, Kernel, Settings
from bench.rendezvous import Rendezvous

SHARDED = "sharding"
"""The setting: each process updates, and keeps the optimizer's state of, its own parameters."""

LOGS = "ranks"  # what the ranks print, below the working directory


def launch(cell: Cell, at: Rendezvous) -> list[str]:
    """Paddle's launcher, which finds free ports itself.

    It deals out the visible GPUs even on a CPU, and stops where there are none ("list index out of
    range"): there it must not see the variable that hides them.
    """
    launcher = [sys.executable, "-m", "paddle.distributed.launch"]
    if cell.device == "cpu":
        launcher = [shutil.which("env") or "/usr/bin/env", "-u", "CUDA_VISIBLE_DEVICES", *launcher]
    launcher += [f"--nproc_per_node={cell.processes}", f"--log_dir={LOGS}"]
    if at.nodes == 1:
        return launcher
    meet = [f"--master={at.host}:{at.port}", f"--nnodes={at.nodes}", f"--rank={at.node_rank}"]
    return [*launcher, *meet]


def start(cell: Cell) -> None:
    """Join the other processes: over gloo on CPUs."""
    if cell.world_size == 1 or distributed.is_initialized():
        return
    if SHARDED in cell.settings:
        strategy = fleet.DistributedStrategy()
        strategy.hybrid_configs = {"dp_degree": 1, "sharding_degree": cell.world_size}
        fleet.init(is_collective=True, strategy=strategy)
    else:
        distributed.init_parallel_env()


def batchnorm(cell: Cell) -> str | None:
    """Why BatchNorm cannot be synchronised, in words."""
    if found := answers.batchnorm(cell):
        return found
    if synchronised(cell) and cell.device == "cpu":
        said = "The kernel `sync_batch_norm` is not registered."  # as Paddle says it on a CPU
        return f'paddle.nn.SyncBatchNorm is for GPUs: "{said}"'
    return None


def allreduce(cell: Cell, n: int) -> Kernel | None:
    """Sums n float32 numbers over the processes, in place."""
    if cell.world_size == 1:
        return None
    numbers = paddle.ones([n])
    return Kernel(lambda: distributed.all_reduce(numbers), lambda _: numbers.numpy())


class Parallel(Training):
    """One process's part of the training; its loss is the mean over all processes."""

    def __init__(self, cell: Cell, model: nn.Layer, batches: Batches) -> None:
        part = share(cell, batches, rank=distributed.get_rank())
        if synchronised(cell):
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        if cell.mode == "compiled":
            model = paddle.jit.to_static(model, full_graph=True)  # its own forward, from now on
        sharded = SHARDED in cell.settings
        forward = fleet.distributed_model(model) if sharded else paddle.DataParallel(model)
        super().__init__(cell, model, part, forward=forward)
        if sharded:
            self.optimizer = fleet.distributed_optimizer(self.optimizer)
        self.replicas = replicas(cell)

    def loss(self) -> float:
        mean = paddle.to_tensor(super().loss() / distributed.get_world_size())
        distributed.all_reduce(mean)
        return float(mean)

    def slowest(self, values: Sequence[float]) -> list[float]:
        largest = paddle.to_tensor(values, dtype="float64")
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        found: list[float] = largest.tolist()
        return found

    def facts(self) -> Settings:
        facts = super().facts()
        if facts:
            facts["compiled"] = isinstance(self.model.forward, StaticFunction)
            facts["parallel"] = type(self.forward).__name__
            layers = self.model.sublayers()
            if count := sum(isinstance(one, nn.SyncBatchNorm) for one in layers):
                facts["batchnorm_synchronised"] = count
            facts["communication"] = distributed.get_backend().lower()
            # After the first step a moment lies here, or with another process.
            here = sum("moment1" in name for name in self.optimizer.state_dict())
            facts["sharded"] = len(models.trained(self.model)) - here if here else 0
        return facts
