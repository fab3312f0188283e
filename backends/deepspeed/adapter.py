"""DeepSpeed: its engine and its ZeRO optimizer around torch's networks.

The networks and the files are torch's. ZeRO's stage is a setting; with one process there is nothing
to share, so what is measured of it is its own cost.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import torch
from torch import distributed

from backends.deepspeed import ops
from backends.torch import adapter as plain
from backends.torch import attention, batchnorm, recompute
from backends.torch import models as torch_models
from backends.torch.decoder import Decoder

ops.ready(ops.mine())  # before DeepSpeed is imported, which reads it

import deepspeed
from deepspeed.accelerator import get_accelerator

from backends.deepspeed import parallel
from backends.deepspeed.engine import zero_stage
from backends.deepspeed.programs import Inference, Training
from backends.torch.placing import device
from bench.contract import Batches, Cell, Program, Settings, Weights

NAME = "deepspeed"
DIST = "deepspeed"
launch = parallel.launch
devices = plain.devices
absent = plain.absent
check = plain.check
load = plain.load
gemm = plain.gemm
stream = plain.stream
allreduce = plain.allreduce
peak_device_bytes = plain.peak_device_bytes


def unsupported(cell: Cell) -> str | None:
    """The first reason why the cell cannot be run, in words."""
    return plain.unsupported(cell) or _compiler(cell) or _operators(cell)


def _compiler(cell: Cell) -> str | None:
    if cell.mode == "compiled" and zero_stage(cell) == 3:
        # Tried: the losses are right, but a two-layer encoder falls into 133 pieces, and the
        # compiler gives up at its limit of recompilations.
        return "torch.compile breaks at the hooks in which ZeRO's third stage gathers parameters"
    return None


def _operators(cell: Cell) -> str | None:
    """Nothing is compiled in a run: a CPU's operators come with the environment."""
    if cell.device == "cpu" and (missing := ops.missing()):
        return (
            f"DeepSpeed's operators are not built in this environment ({', '.join(missing)}): "
            "run `python -m backends.deepspeed.ops` with its interpreter"
        )
    return None


def setup(cell: Cell) -> None:
    plain.setup(cell)
    # torch warns of collectives that DeepSpeed calls, in every step of ZeRO's third stage.
    deprecated = r"`torch\.distributed\.\w+` is deprecated"
    warnings.filterwarnings("ignore", message=deprecated, category=FutureWarning)
    if not distributed.is_initialized():
        # As a launcher says it. The store is in memory: one process needs no port and no file.
        os.environ["LOCAL_RANK"] = "0"
        store = distributed.HashStore()
        distributed.init_process_group(communication(), store=store, rank=0, world_size=1)
    deepspeed.init_distributed(communication(), auto_mpi_discovery=False, verbose=False)
    parallel.unlink_buffer()


def communication() -> str:
    """What DeepSpeed's processes talk over: NCCL (RCCL) on GPUs, gloo on CPUs."""
    gpu = get_accelerator().device_name() == "cuda"
    return str(get_accelerator().communication_backend_name()) if gpu else "gloo"


def effective(cell: Cell) -> Settings:
    return {
        **plain.effective(cell),
        "torch": torch.__version__,
        "accelerator": get_accelerator().device_name(),
        "communication": distributed.get_backend(),
        "processes": distributed.get_world_size(),
    }


def build(cell: Cell, weights: Weights, batches: Batches) -> Program:
    network = torch_models.make(cell.dims)
    torch_models.load_weights(network, weights)
    network = batchnorm.apply(cell, network)
    recompute.apply(cell, network)
    attention.apply(cell, network, batches)
    # The weights stay contiguous in either track: ZeRO flattens them, and it cannot even send
    # others at the start ("self.stride(-1) must be 1"). In the tuned track the images are not.
    network = network.to(device(cell))
    if isinstance(network, Decoder):
        # Its head multiplies by the embeddings' parameter, which ZeRO's third stage has given away
        # again by then: its documentation's "Registering External Parameters".
        deepspeed.zero.register_external_parameter(network, network.model.embed_tokens.weight)
    if cell.world_size > 1:
        return parallel.Parallel(cell, network, batches)
    kind = Training if cell.trains else Inference
    return kind(cell, network, batches)


def export(cell: Cell, program: Program, path: Path) -> Settings:
    assert isinstance(program, Inference)
    return program.export(path)
