"""PyTorch: eager or torch.compile, autocast for mixed precision, torch.optim's updates."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sysconfig
import warnings
from functools import cache
from pathlib import Path

import torch

from backends import answers
from backends.torch import (
    attention,
    batchnorm,
    cuda_graphs,
    exports,
    kernels,
    models,
    parallel,
    precision,
    recompute,
)
from backends.torch.placing import device, memory_format
from backends.torch.programs import Inference, Training, autocast, compiled
from bench.contract import Batches, Cell, Kernel, Program, Settings, Weights

NAME = "torch"
DIST = "torch"
launch = parallel.launch
allreduce = parallel.allreduce

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")


@cache
def devices() -> list[str]:
    """``cpu``, and the GPU kind if an operation really runs on it."""
    found = ["cpu"]
    if torch.cuda.is_available():
        try:
            torch.ones(2, 2, device="cuda").mm(torch.ones(2, 2, device="cuda")).cpu()
        except RuntimeError as error:
            warnings.warn(f"torch sees a GPU that does not compute: {error}", stacklevel=2)
        else:
            found.append("rocm" if torch.version.hip else "cuda")
    return found


def absent(device: str) -> str:
    """What torch says where it is asked for what it has not; ROCm's builds call it cuda."""
    name = {"rocm": "cuda", "tpu": "xla"}.get(device, device)
    return answers.said(lambda: torch.ones(1, device=name))


def unsupported(cell: Cell) -> str | None:
    """The first reason why the cell cannot be run, in words."""
    found = answers.precision(cell, "torch") or answers.recompute(cell)
    found = found or cuda_graphs.unsupported(cell) or batchnorm.unsupported(cell)
    return found or _precision(cell) or _compiler(cell)


def _precision(cell: Cell) -> str | None:
    if cell.precision == "int8":
        return "torch itself has no int8 inference: it moved to the package torchao"
    if cell.precision not in PRECISIONS:
        return f"torch has no precision {cell.precision!r}"
    if cell.precision == "fp16" and cell.device == "cpu":
        return "fp16 on a CPU is emulated: GPUs compute in it, CPUs in bf16"
    return None


def _compiler(cell: Cell) -> str | None:
    if cell.mode == "compiled" and cell.device == "cpu":
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            return f"torch.compile needs a C++ compiler on a CPU, and {compiler} is not on PATH"
        if not Path(sysconfig.get_path("include"), "Python.h").exists():
            return "torch.compile needs Python's headers on a CPU, and Python.h is not there"
    return None


def setup(cell: Cell) -> None:
    parallel.start(cell)
    torch.set_num_threads(cell.threads)
    if torch.get_num_interop_threads() != 1:  # it can be set only once
        torch.set_num_interop_threads(1)
    # cuDNN's convolutions would take TF32 by default. Not through the newer fp32_precision:
    # after it torch 2.13's own torch.export stops, because cudnn.set_flags reads these.
    torch.backends.cuda.matmul.allow_tf32 = cell.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = cell.precision == "tf32"
    torch.backends.cudnn.benchmark = cell.track == "tuned" and cell.device != "cpu"


def effective(cell: Cell) -> Settings:
    where = device(cell)
    product = precision.product(where, autocast(cell))
    facts: Settings = {
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "matmul_dtype": str(product).removeprefix("torch."),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "mkldnn": torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled,
    }
    if where.type == "cuda":
        facts["tf32_matmul"] = torch.backends.cuda.matmul.allow_tf32
        facts["tf32_conv"] = torch.backends.cudnn.allow_tf32
        facts["cudnn"] = torch.backends.cudnn.version()
        facts["cudnn_benchmark"] = torch.backends.cudnn.benchmark
        facts["cudnn_deterministic"] = torch.backends.cudnn.deterministic
        facts["runtime"] = torch.version.hip or torch.version.cuda
    return facts


def build(cell: Cell, weights: Weights, batches: Batches) -> Program:
    model = models.make(cell.dims)
    models.load_weights(model, weights)
    model = batchnorm.apply(cell, model)
    model = model.to(device=device(cell), memory_format=memory_format(cell))
    model.train(cell.trains)
    recompute.apply(cell, model)
    attention.apply(cell, model, batches)
    if cell.world_size > 1:
        return parallel.Parallel(cell, model, batches)
    kind = Training if cell.trains else Inference
    return kind(cell, model, batches, forward=compiled(cell, model))


def export(cell: Cell, program: Program, path: Path) -> Settings:
    assert isinstance(program, Inference)
    return exports.write(cell, program, path)


def check(cell: Cell, path: Path) -> None:
    """Raise with torch's words if the file is not a valid program. Only ``native`` is torch's."""
    exports.read(path)


def load(cell: Cell, path: Path, batches: Batches) -> Program:
    model = exports.read(path).module()
    plain = dataclasses.replace(cell, precision="fp32")  # mixed precision lies in the file
    return Inference(plain, model, batches, forward=compiled(cell, model))


def gemm(cell: Cell, precision: str, n: int) -> Kernel | None:
    # fp16 on a CPU is emulated: one product of 1024 took 3.5 s, and says nothing of the machine.
    if unsupported(dataclasses.replace(cell, precision=precision, format="")) is not None:
        return None
    return kernels.matmul(cell, precision, n)


stream = kernels.stream


def peak_device_bytes(cell: Cell) -> int | None:
    return torch.cuda.max_memory_allocated() if device(cell).type == "cuda" else None
