"""MXNet: Gluon HybridBlocks, hybridized or not; contrib's mixed precision and int8."""

from __future__ import annotations

import ctypes
import os
from dataclasses import replace
from pathlib import Path

import mxnet as mx
from mxnet.contrib import amp
from mxnet.gluon import nn

from backends import answers
from backends.attention import COMPOSED
from backends.mxnet import exports, models, parallel, precision, programs
from backends.mxnet.precision import NAMES_OF, context, dtype_name, prepared
from backends.mxnet.programs import Inference, Training, place
from bench import contract
from bench.contract import GENERATE, Batches, BenchError, Cell, Kernel, Program, Settings, Weights

NAME = "mxnet"
DIST = answers.distribution("mxnet", "mxnet-cu112")
launch = contract.one_process
allreduce = parallel.allreduce
devices = precision.kinds
peak_device_bytes = contract.no_device_bytes

# What libmxnet.so is linked with: these are the copies that it uses.
_openmp = ctypes.CDLL("libgomp.so.1")
_openblas = Path(mx.__file__).with_name("libopenblas.so.0")  # of the wheels; others link theirs


def absent(device: str) -> str:
    """What MXNet says where it is asked for a device that it has not; it knows GPUs only."""
    return answers.said(lambda: mx.nd.ones((1,), ctx=mx.gpu()).wait_to_read())


def unsupported(cell: Cell) -> str | None:
    """The first reason why the cell cannot be run, in words."""
    of_device = precision.unsupported(cell)
    found = answers.precision(cell, "MXNet") or of_device or _mode(cell) or _sharding(cell)
    found = found or _generation(cell)
    return found or answers.recompute(cell) or _recompute(cell)


def _mode(cell: Cell) -> str | None:
    if cell.mode == "eager" and cell.format == "native":
        return "an exported symbol always runs as one cached graph: MXNet has no eager mode for it"
    return None


def _generation(cell: Cell) -> str | None:
    if cell.workload != GENERATE or cell.precision == "fp32":
        return None
    if cell.precision == "bf16":
        return (
            "MXNet has no bfloat16 products of keys and values (batch_dot), so no cache of them:"
            ' "dot only supports float32/float64 for CPU"'
        )
    if cell.precision == "int8" and cell.mode == "eager":
        return "a quantised graph always runs as one cached graph: MXNet has no eager mode for it"
    if cell.precision == "fp16":
        return "this adapter generates in float32 on a GPU, not in fp16"
    return None


def _sharding(cell: Cell) -> str | None:
    if "sharding" in cell.settings:
        return (
            "a kvstore keeps the whole optimizer state on one of the contexts, and every context"
            " all parameters; only dist_sync's servers split them, processes that do not train"
        )
    return None


def _recompute(cell: Cell) -> str | None:
    if "recompute" in cell.settings:
        return (
            "MXNET_BACKWARD_DO_MIRROR is for the executor of a bound symbol: Gluon's cached graph"
            " keeps its activations all the same (its peak memory does not change), as eager does"
        )
    return None


def setup(cell: Cell) -> None:
    """Check the threads, which are MXNet's from the start, and begin mixed precision.

    BenchError if OMP_NUM_THREADS was another number when MXNet was loaded: its engine's threads
    take theirs from there and from nowhere else.
    """
    if (found := _openmp.omp_get_max_threads()) != cell.threads:
        asked = os.environ.get("OMP_NUM_THREADS")
        raise BenchError(
            f"MXNet runs {found} threads, not {cell.threads}: it takes them from OMP_NUM_THREADS"
            f" when it is loaded, and that is {asked}"
        )
    if cell.precision in NAMES_OF and cell.trains:
        amp.init(NAMES_OF[cell.precision])  # for the whole process, once


def effective(cell: Cell) -> Settings:
    """What is in force, read back from the libraries that MXNet loaded."""
    features = mx.runtime.Features()
    facts: Settings = {
        "threads": _openmp.omp_get_max_threads(),
        "matmul_dtype": _matmul_dtype(cell),
        "onednn": features.is_enabled("MKLDNN"),
        **precision.effective(cell),
    }
    if cell.trains and cell.model != "cnn":
        facts["attention"] = COMPOSED  # by the model itself
    if _openblas.exists():
        facts["openblas_threads"] = ctypes.CDLL(str(_openblas)).openblas_get_num_threads()
    return facts


def _matmul_dtype(cell: Cell) -> str:
    """The type of a small dense layer's product; to infer, of the weight that it multiplies by."""
    layer = nn.Dense(2, in_units=2, use_bias=False)
    layer.initialize(mx.init.One(), ctx=context(cell))
    inputs = (mx.nd.ones((2, 2), ctx=context(cell)),)
    if cell.trains:
        return dtype_name(layer(*inputs))
    parameters = prepared(cell, layer, [inputs]).collect_params().values()
    return dtype_name(max((one.data() for one in parameters), key=lambda array: array.size))


def build(cell: Cell, weights: Weights, batches: Batches) -> Program:
    model = models.make(cell.dims)
    models.load_weights(model, weights)
    if cell.device != "cpu":
        model.collect_params().reset_ctx(context(cell))
    if cell.trains:
        return (parallel.Parallel if cell.world_size > 1 else Training)(cell, model, batches)
    count = models.n_params(model)
    model = prepared(cell, model, [place(cell, batch) for batch in batches.train])
    return Inference(cell, model, batches, n_params=count)


def export(cell: Cell, program: Program, path: Path) -> Settings:
    assert isinstance(program, Inference)
    return exports.write(cell, program, path)


def check(cell: Cell, path: Path) -> None:
    """Raise with MXNet's words if the files are not a whole model. Only ``native`` is MXNet's."""
    exports.read(cell, path)


def load(cell: Cell, path: Path, batches: Batches) -> Program:
    model = exports.read(cell, path)
    # Not at export, where the fused graph would be written. int8 is fused when it is made; bf16
    # folds BatchNorm into weights that are rounded already: the tiny cnn was 0.13 off.
    fuse = cell.track == "tuned" and cell.precision == "fp32" and cell.device == "cpu"
    return Inference(cell, model, batches, n_params=models.n_params(model), fuse=fuse)


def gemm(cell: Cell, precision: str, n: int) -> Kernel | None:
    asked = replace(cell, precision=precision, format="")
    return programs.matmul(cell, precision, n) if unsupported(asked) is None else None


def stream(cell: Cell, n: int) -> Kernel:
    return programs.stream(cell, n)
