"""PaddlePaddle: dynamic layers, or jit.to_static; its files are served by paddle.inference."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import paddle
from paddle.base import core

from backends import answers
from backends.paddle import devices as places
from backends.paddle import exports, models, parallel, programs, recompute, served
from backends.paddle.programs import Inference, Training
from backends.paddle.served import Served
from bench.contract import GENERATE, Batches, Cell, Kernel, Program, Settings, Weights

NAME = "paddle"
DIST = answers.distribution("paddlepaddle", "paddlepaddle-gpu")
launch = parallel.launch
allreduce = parallel.allreduce
devices = places.kinds
peak_device_bytes = places.peak_bytes

VIEWS = "FLAGS_use_stride_kernel"
TRACE = "FLAGS_enable_pir_in_executor_trace_run"


def absent(device: str) -> str:
    """What Paddle says where it is asked for a device that it has not."""
    return answers.said(lambda: paddle.set_device("xpu" if device == "tpu" else "gpu"))


def unsupported(cell: Cell) -> str | None:
    """The first reason why the cell cannot be run, in words."""
    found = answers.precision(cell, "Paddle") or _precision(cell)
    return found or recompute.unsupported(cell) or parallel.batchnorm(cell)


def _precision(cell: Cell) -> str | None:
    if cell.precision in ("fp32", "tf32"):
        return None
    if cell.precision == "int8":
        return _int8(cell)
    if cell.precision not in ("bf16", "fp16"):
        return f"Paddle has no precision {cell.precision!r}"
    if cell.device != "cpu":
        return places.precision(cell)
    if cell.precision == "bf16" and cell.format == "native":
        return _served_bf16(cell)
    return (
        "paddle.amp.auto_cast has no effect on a CPU (a product in it stays float32), and no"
        f" {cell.precision} matrix product or convolution is registered for a CPU"
    )


def _int8(cell: Cell) -> str:
    if cell.workload == GENERATE and cell.device == "cpu":
        return "paddle.nn.quant.weight_only_linear, which takes int8 weights, has no CPU kernel"
    return (
        "paddle.inference runs a float32 program in float32 even with int8 switched on:"
        " it needs one that PaddleSlim, another package, has quantised"
    )


def _served_bf16(cell: Cell) -> str | None:
    if cell.mode != "compiled":
        return "on a CPU only paddle.inference's graphs compute in bfloat16: mode compiled"
    if not core.supports_bfloat16():
        return "paddle.inference computes in bfloat16 on CPUs with AVX-512 only"
    return None


def setup(cell: Cell) -> None:
    places.use(cell)
    if cell.track == "tuned" and cell.device == "cpu":
        _tune()
    core.set_num_threads(cell.threads)
    # On a CPU a static graph's executor has four threads of its own, however many were asked for:
    # operators run in the calling thread instead, one after the other.
    paddle.set_flags({TRACE: cell.device == "cpu"})
    parallel.start(cell)


def _tune() -> None:
    """What Paddle leaves undone on a CPU; the figures are of one core of an EPYC."""
    if "GenuineIntel" not in Path("/proc/cpuinfo").read_text():
        # MKL takes SSE on other makers' CPUs unless told AVX2, 33 instead of 74 GFLOP/s; it looks
        # at its first use. And once AdamW has run in several threads, its generated AVX-512 code
        # has left the registers' upper halves in use (no vzeroupper) in all but the first: there
        # SSE gets 11 GFLOP/s, and a step takes three times as long.
        os.environ["MKL_DEBUG_CPU_TYPE"] = "5"
    # A transposed view is copied before it is multiplied, number by number: 3.3 ms for the keys of
    # 8 x 160 tokens and 8 heads of 32, where a transposition that is no view takes 0.04 ms.
    paddle.set_flags({VIEWS: False})


def effective(cell: Cell) -> Settings:
    mkl = _library("libmklml_intel.so")
    return {
        "threads": _library("libiomp5.so").omp_get_max_threads(),
        "mkl_threads": mkl.MKL_Get_Max_Threads(),
        "mkl_cpu_type": mkl.mkl_serv_cpu_detect(),  # 0: SSE, 5: AVX2
        "trace_executor": paddle.get_flags(TRACE)[TRACE],
        "views": paddle.get_flags(VIEWS)[VIEWS],
        "matmul_dtype": _matmul_dtype(cell),
        **places.effective(cell),
    }


@cache
def _library(name: str) -> Any:
    """One of the libraries that Paddle has loaded; it can set its threads but not say them."""
    assert paddle.__file__
    return ctypes.CDLL(str(Path(paddle.__file__).with_name("libs") / name))


@cache
def _served_dtype(precision: str, threads: int) -> str:
    return served.dtype(precision, threads)


def _matmul_dtype(cell: Cell) -> str:
    if _served(cell):
        return _served_dtype(cell.precision, cell.threads)
    with places.autocast(cell):
        product = paddle.matmul(paddle.ones([2, 2]), paddle.ones([2, 2]))
    return str(product.dtype).rpartition(".")[2]


def _served(cell: Cell) -> bool:
    """Whether it is only served in this precision: on a CPU nothing else computes in bfloat16."""
    return cell.precision == "bf16" and cell.device == "cpu"


def build(cell: Cell, weights: Weights, batches: Batches) -> Program:
    model = models.make(cell.dims)
    models.load_weights(model, weights)
    if cell.trains:
        recompute.apply(cell, model)
        model.train()
        if cell.world_size > 1:
            return parallel.Parallel(cell, model, batches)
        return Training(cell, model, batches, forward=_forward(cell, model))
    model.eval()
    if _served(cell):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            exports.write_native(cell, model, Path(folder))
            return Served(cell, Path(folder), batches, model=model)
    return Inference(cell, model, batches, forward=_forward(cell, model))


def _forward(cell: Cell, model: paddle.nn.Layer) -> Any:
    """The bound method, not the layer: to_static of a layer would replace its own ``forward``."""
    if cell.mode == "compiled":
        return paddle.jit.to_static(model.forward, full_graph=True)
    return model


def export(cell: Cell, program: Program, path: Path) -> Settings:
    assert isinstance(program, (Inference, Served))
    assert program.model is not None, "a file that was loaded is there already"
    write = exports.write_onnx if cell.format == "onnx" else exports.write_native
    return write(cell, program.model, path)


def check(cell: Cell, path: Path) -> None:
    """Raise if the file is not a valid program. Only ``native`` is Paddle's."""
    exports.check(path)


def load(cell: Cell, path: Path, batches: Batches) -> Program:
    """In either mode by paddle.inference, which is how Paddle serves its files."""
    return Served(cell, path, batches)


def gemm(cell: Cell, precision: str, n: int) -> Kernel | None:
    asked = dataclasses.replace(cell, precision=precision, format="")
    return programs.matmul(asked, n) if unsupported(asked) is None else None


def stream(cell: Cell, n: int) -> Kernel:
    return programs.stream(cell, n)
