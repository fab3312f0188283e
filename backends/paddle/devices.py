"""Where Paddle computes, and in what types: a CPU, or a GPU with a build that knows one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import paddle
from paddle.base import core

from backends import answers
from bench.contract import Cell, Settings

DTYPES = {"bf16": "bfloat16", "fp16": "float16"}


@cache
def kinds() -> list[str]:
    """``cpu``, and the GPU's kind if a product really comes back from it."""
    if not paddle.is_compiled_with_cuda():  # as ROCm's builds are, too
        return ["cpu"]
    before = paddle.device.get_device()
    refused = answers.said(_multiply_on_gpu)
    paddle.set_device(before)
    return ["cpu"] if refused else ["cpu", "rocm" if paddle.is_compiled_with_rocm() else "cuda"]


def _multiply_on_gpu() -> None:
    paddle.set_device("gpu")
    paddle.matmul(paddle.ones([2, 2]), paddle.ones([2, 2])).numpy()


def precision(cell: Cell) -> str | None:
    """Why a GPU cannot do it, in words."""
    if cell.precision in ("fp32", "tf32") or cell.device not in kinds():
        return None
    asked = {"bf16": paddle.amp.is_bfloat16_supported, "fp16": paddle.amp.is_float16_supported}
    if asked[cell.precision]("gpu"):
        return None
    return f"this GPU has no {cell.precision}, says paddle.amp.{asked[cell.precision].__name__}"


def use(cell: Cell) -> None:
    """Make the cell's device the current one; float32 products in TF32 only where it is asked for.

    Paddle's own default is TF32. The switches have no public name; its own tests use these.
    """
    if cell.device == "cpu":
        paddle.set_device("cpu")
        return
    paddle.set_device("gpu")  # of several processes each gets its own
    core.set_cublas_switch(cell.precision == "tf32")
    core.set_cudnn_switch(cell.precision == "tf32")


@contextmanager
def tf32(cell: Cell) -> Iterator[None]:
    """Float32 products on a GPU in the cell's precision, whichever is in force otherwise."""
    if cell.device == "cpu":
        yield
        return
    before = core.get_cublas_switch()
    core.set_cublas_switch(cell.precision == "tf32")
    yield
    core.set_cublas_switch(before)


def effective(cell: Cell) -> Settings:
    if cell.device == "cpu":
        return {}
    return {
        "tf32_matmul": core.get_cublas_switch(),
        "tf32_conv": core.get_cudnn_switch(),
        "cudnn": paddle.device.get_cudnn_version(),
        "runtime": paddle.version.cuda(),
    }


def autocast(cell: Cell) -> AbstractContextManager[Any]:
    """Mixed precision as Paddle documents it, level O1; on a CPU it would have no effect."""
    if cell.device == "cpu" or cell.precision not in DTYPES:
        return nullcontext()
    context: AbstractContextManager[Any] = paddle.amp.auto_cast(
        level="O1", dtype=DTYPES[cell.precision]
    )
    return context


def synchronize(cell: Cell) -> None:
    """On a CPU operators and graphs return when they are done."""
    if cell.device != "cpu":
        paddle.device.synchronize()


def peak_bytes(cell: Cell) -> int | None:
    """None on a CPU, whose memory Paddle does not count."""
    return None if cell.device == "cpu" else int(paddle.device.cuda.max_memory_allocated())
