"""Several processes: the engine shares the gradients, and ZeRO splits what its stage says.

As in DeepSpeed's "Getting Started" and "Zero Redundancy Optimizer"; started by its own launcher.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from deepspeed import comm
from torch import nn

from backends.deepspeed.programs import Training
from backends.ranks import free_port, replicas, share
from backends.torch.parallel import slowest
from bench.contract import Batches, Cell, Settings
from bench.rendezvous import Rendezvous

HOSTS = "hostfile"


def launch(cell: Cell, at: Rendezvous) -> list[str]:
    """The command ``deepspeed``; its port is a fixed one unless it is told another.

    On several machines as in "Launching without passwordless SSH": each runs the command itself,
    and a file says how many there are; the names in it are not looked up.
    """
    command = [sys.executable, str(Path(sys.executable).with_name("deepspeed")), "--no_local_rank"]
    if at.nodes == 1:
        return [*command, f"--num_accelerators={cell.processes}", f"--master_port={free_port()}"]
    hosts = [f"node{rank} slots={cell.processes}\n" for rank in range(at.nodes)]
    Path(HOSTS).write_text("".join(hosts))
    command += [f"--hostfile={HOSTS}", "--no_ssh", f"--node_rank={at.node_rank}"]
    return [*command, f"--master_addr={at.host}", f"--master_port={at.port}"]


def unlink_buffer() -> None:
    """Take away the name of this rank's all-reduce buffer in shared memory, once all have it open.

    DeepSpeed makes it where all ranks are on one host (``ops/csrc/cpu/comm/shm.cpp``) and never
    unlinks it: each run on CPUs would leave 64 MiB for each rank in memory until the next boot.
    """
    if os.environ.get("LOCAL_SIZE") != str(comm.get_world_size()):
        return
    comm.barrier()
    at = f"{os.environ.get('MASTER_ADDR', '')}_{os.environ.get('MASTER_PORT', '')}"
    name = f"deepspeed_allreduce_buffer_{os.getuid()}_{at}_{comm.get_rank()}"
    Path("/dev/shm", name).unlink(missing_ok=True)  # noqa: S108  POSIX shared memory lies there


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
