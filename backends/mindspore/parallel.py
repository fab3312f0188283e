"""Several processes whose gradients are averaged, as in MindSpore's tutorial "Data Parallel"."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, communication, nn, ops

from backends.mindspore.programs import Training, step
from backends.ranks import free_port, replicas, share
from bench.contract import Batches, Cell, Kernel, Settings
from bench.rendezvous import Rendezvous

LOGS = "ranks"  # what the ranks print, below the working directory
START = Path(__file__).parent / "rank" / "start.py"


def launch(cell: Cell, at: Rendezvous) -> list[str]:
    """msrun, which looks for ``python`` on PATH and takes the port that it is told."""
    folder = Path(sys.executable).parent
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    msrun = [sys.executable, str(folder / "msrun"), f"--worker_num={cell.world_size}"]
    msrun += [f"--local_worker_num={cell.processes}", f"--log_dir={LOGS}", "--join=True"]
    if at.nodes == 1:
        msrun += [f"--master_port={free_port()}"]
    else:
        msrun += [f"--master_addr={at.host}", f"--master_port={at.port}"]
        msrun += [f"--node_rank={at.node_rank}"]
    return [*msrun, str(START)]


def start(cell: Cell) -> None:
    """Join the other processes."""
    if cell.world_size > 1:
        communication.init()
        mode = ms.ParallelMode.DATA_PARALLEL
        ms.set_auto_parallel_context(parallel_mode=mode, gradients_mean=True)


def rank(cell: Cell) -> int:
    return int(communication.get_rank()) if cell.world_size > 1 else 0


def allreduce(cell: Cell, n: int) -> Kernel | None:
    """Sums n float32 numbers over the processes."""
    if cell.world_size == 1:
        return None
    numbers, add = ops.ones(n, ms.float32), ops.AllReduce()
    return Kernel(lambda: add(numbers), Tensor.asnumpy)


class Parallel(Training):
    """One process's part of the training; its loss is the mean over all processes."""

    def __init__(self, cell: Cell, model: nn.Cell, batches: Batches) -> None:
        super().__init__(cell, model, share(cell, batches, rank=communication.get_rank()))
        self.reducer = nn.DistributedGradReducer(self.optimizer.parameters)
        how = {"compiled": self.compiled, "reducer": self.reducer, "scaler": self.scaler}
        self.step = step(model, self.optimizer, **how)
        self.replicas = replicas(cell)

    def loss(self) -> float:
        mean = super().loss() / communication.get_group_size()
        return float(ops.AllReduce()(Tensor(mean, ms.float32)).asnumpy())

    def slowest(self, values: Sequence[float]) -> list[float]:
        """Each process adds a row of its own: on a CPU "AllReduce only support reduce sum"."""
        rows = np.zeros((communication.get_group_size(), len(values)), np.float32)
        rows[communication.get_rank()] = values
        found: list[float] = ops.AllReduce()(Tensor(rows)).asnumpy().max(axis=0).tolist()
        return found

    def facts(self) -> Settings:
        facts = super().facts()
        if facts:
            facts["parallel"] = type(self.reducer).__name__
            facts["communication"] = str(communication.GlobalComm.BACKEND)
        return facts
