"""Where MXNet computes, and in what types: the CPU, or a GPU with a build that knows one."""

from __future__ import annotations

import os
from functools import cache

import mxnet as mx
import numpy as np
from mxnet import gluon
from mxnet.contrib import amp, quantization
from mxnet.gluon import HybridBlock
from mxnet.ndarray import NDArray

from backends import answers
from bench.contract import Cell, Settings

BF16 = amp.amp.bfloat16
DTYPES = {"bf16": BF16, "fp16": "float16"}
NAMES_OF = {"bf16": "bfloat16", "fp16": "float16"}
"""What ``amp`` calls its target types."""

NAMES = {1: ("data",), 2: ("data0", "data1")}
"""What Gluon calls the inputs of a graph, by their number."""

NO_TF32 = "NVIDIA_TF32_OVERRIDE"


@cache
def kinds() -> list[str]:
    """``cpu``, and ``cuda`` if this build has it and a product really comes back from a GPU."""
    if not mx.runtime.Features().is_enabled("CUDA"):
        return ["cpu"]
    return ["cpu"] if answers.said(_multiply_on_gpu) else ["cpu", "cuda"]


def _multiply_on_gpu() -> None:
    ones = mx.nd.ones((2, 2), ctx=mx.gpu())
    mx.nd.dot(ones, ones).asnumpy()


def context(cell: Cell) -> mx.Context:
    return mx.cpu() if cell.device == "cpu" else mx.gpu()


def unsupported(cell: Cell) -> str | None:
    """What the device cannot do, in words."""
    gpu = cell.device != "cpu"
    if cell.precision == "fp16" and not gpu:
        return 'MXNet has no float16 products on a CPU: "FP16 gemm on cpu not implemented!"'
    if cell.precision == "bf16" and gpu:
        return "MXNet's bfloat16 is oneDNN's, on CPUs: on a GPU its amp casts to float16 only"
    if cell.precision == "int8" and gpu:
        return "MXNet's int8 is made here of oneDNN's subgraphs, which run on CPUs only"
    if cell.precision == "tf32":
        return (
            "MXNet has no switch for TF32, which cuDNN would take by itself: it is off for the"
            f" whole process, by {NO_TF32}"
        )
    known = ("fp32", "int8", *DTYPES)
    return None if cell.precision in known else f"MXNet has no precision {cell.precision!r}"


def effective(cell: Cell) -> Settings:
    return {} if cell.device == "cpu" else {"nvidia_tf32_override": os.environ.get(NO_TF32)}


def dtype_name(array: NDArray) -> str:
    """MXNet calls bfloat16 a structure of one field."""
    return "bfloat16" if array.dtype == BF16 else np.dtype(array.dtype).name


def loss_scale(trainer: gluon.Trainer) -> float:
    scaler = trainer._amp_loss_scaler  # noqa: SLF001  no public way
    return float(scaler.loss_scale)


def prepared(cell: Cell, block: HybridBlock, batches: list[tuple[NDArray, ...]]) -> HybridBlock:
    """What infers in the cell's precision: ``block``, or a converted copy of its graph.

    batches: what int8 is calibrated on; their shapes trace the graph.
    """
    if cell.precision in NAMES_OF:
        block.hybridize()
        block(*batches[0])
        # The weights of convolutions and dense layers are kept in this type.
        target = NAMES_OF[cell.precision]
        return amp.convert_hybrid_block(
            block, target_dtype=target, ctx=context(cell), cast_optional_params=True
        )
    if cell.precision == "int8":
        columns = [mx.nd.concat(*column, dim=0) for column in zip(*batches)]
        names = NAMES[len(columns)]
        # As MXNet's tutorial: ranges are the least and largest values seen.
        return quantization.quantize_net_v2(
            block,
            quantize_mode="smart",
            calib_mode="naive",
            calib_data=mx.io.NDArrayIter(dict(zip(names, columns)), batch_size=len(batches[0][0])),
            ctx=mx.cpu(),
        )
    return block
