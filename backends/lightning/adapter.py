"""Lightning: a LightningModule under ``Trainer.fit``, timed through the Trainer's callbacks.

The networks, the files and the device are torch's; Lightning's own is the training loop.
"""

from __future__ import annotations

import logging

import torch
from lightning.pytorch.plugins.precision import MixedPrecision, Precision

from backends.lightning.parallel import Parallel
from backends.lightning.programs import PRECISIONS, Training, wrapped
from backends.torch import adapter as plain
from backends.torch import attention, batchnorm, recompute
from backends.torch import models as torch_models
from backends.torch.parallel import SHARDED
from backends.torch.placing import device, memory_format
from backends.torch.precision import product
from backends.torch.programs import DTYPES, Inference
from bench.contract import Batches, Cell, Program, Settings, Weights

NAME = "lightning"
DIST = "lightning"
launch = plain.launch
devices = plain.devices
export = plain.export
absent = plain.absent
check = plain.check
load = plain.load
gemm = plain.gemm
stream = plain.stream
allreduce = plain.allreduce
peak_device_bytes = plain.peak_device_bytes


def unsupported(cell: Cell) -> str | None:
    """The first reason why the cell cannot be run, in words."""
    return plain.unsupported(cell) or _shards(cell)


def _shards(cell: Cell) -> str | None:
    if SHARDED not in cell.settings:
        return None
    if cell.precision == "fp16":
        return 'Lightning\'s ModelParallelStrategy "does not support" precision 16-mixed'
    if cell.mode == "compiled":
        return '"a compiled model is incompatible with the current strategy: ModelParallelStrategy"'
    return None


def setup(cell: Cell) -> None:
    plain.setup(cell)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


def effective(cell: Cell) -> Settings:
    dtype = product(device(cell), precision(cell).forward_context())
    named = str(dtype).removeprefix("torch.")
    return {**plain.effective(cell), "matmul_dtype": named, "torch": torch.__version__}


def precision(cell: Cell) -> Precision:
    """The plugin that a Trainer makes of the cell's precision."""
    if cell.precision not in DTYPES:
        return Precision()
    return MixedPrecision(PRECISIONS[cell.precision], device(cell).type)


def build(cell: Cell, weights: Weights, batches: Batches) -> Program:
    network = torch_models.make(cell.dims)
    torch_models.load_weights(network, weights)
    network = batchnorm.apply(cell, network)
    recompute.apply(cell, network)
    attention.apply(cell, network, batches)
    network = network.to(device=device(cell), memory_format=memory_format(cell))
    network.train(cell.trains)
    if cell.trains:
        kind = Parallel if cell.world_size > 1 else Training
        return kind(cell, network, batches)
    return Inference(cell, network, batches, forward=wrapped(cell, network))
