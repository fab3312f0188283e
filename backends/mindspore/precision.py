"""Where MindSpore computes, and in what types: the CPU, or a GPU whose CUDA its wheel finds."""

from __future__ import annotations

from functools import cache

import mindspore as ms
import numpy as np
from mindspore import Tensor, amp, nn, ops

from backends import answers
from bench.contract import Cell, Settings

DTYPES = {"fp16": ms.float16}
ENOUGH = 512
"""Rows of a product that a library gives to tensor cores, where it may."""


@cache
def kinds() -> list[str]:
    """``cpu``, and ``cuda`` if a product really comes back from a GPU.

    A process computes on one device for good: one that was set up for the CPU has no other.
    """
    if not ms.device_context.gpu.is_available():
        return ["cpu"]
    return ["cpu"] if answers.said(_multiply_on_gpu) else ["cpu", "cuda"]


def _multiply_on_gpu() -> None:
    ms.set_device("GPU")
    ones = Tensor(np.ones((2, 2), np.float32))
    ops.matmul(ones, ones).asnumpy()


def unsupported(cell: Cell) -> str | None:
    """What the device cannot do, in words."""
    if cell.precision == "int8":
        return "MindSpore itself has no int8 inference: it moved to MindSpore Lite"
    if cell.precision not in ("fp32", "tf32", "bf16", "fp16"):
        return f"MindSpore has no precision {cell.precision!r}"
    if cell.precision == "bf16" and cell.device == "cpu":
        return (
            "MindSpore's MatMul and Conv2D have no bfloat16 kernel on a CPU"
            " (Select CPU operator[MatMul] fail! Unsupported data type!)"
        )
    if cell.precision == "bf16":
        return "MindSpore's bfloat16 is for Ascend: its products on GPUs are float16 or wider"
    if cell.precision == "fp16" and cell.device == "cpu":
        return (
            "MindSpore has no float16 products on a CPU: it casts the operands of MatMul and"
            " Conv2D to float32, and oneDNN multiplies float32"
        )
    return None


def use(cell: Cell) -> None:
    """Set the device for good; float32 products in TF32 only where it is asked for."""
    if cell.device == "cpu":
        ms.set_device("CPU")
        return
    ms.set_device("GPU")
    # Convolutions would take it by default.
    ms.device_context.gpu.op_precision.matmul_allow_tf32(cell.precision == "tf32")
    ms.device_context.gpu.op_precision.conv_allow_tf32(cell.precision == "tf32")


def effective(cell: Cell) -> Settings:
    """The switches cannot be read back, but a product shows one: TF32 rounds 1 + 2**-12 to 1."""
    if cell.device == "cpu":
        return {}
    one = Tensor(np.eye(ENOUGH, dtype=np.float32))
    above = Tensor(np.full((ENOUGH, ENOUGH), 1 + 2.0**-12, np.float32))
    return {"tf32_matmul": bool(ops.matmul(one, above).asnumpy()[0, 0] == 1)}


def mixed(cell: Cell, model: nn.Cell) -> nn.Cell:
    """As the tutorial on mixed precision has it on GPUs: all but norms in float16, logits not."""
    if cell.precision not in DTYPES:
        return model
    return amp.auto_mixed_precision(model, "O2", DTYPES[cell.precision])


def scaler(cell: Cell) -> amp.LossScaler | None:
    """MindSpore has no defaults for it: the first scale is its reference page's, the rest its
    tutorial's, whose 2**16 makes the encoder's first gradients overflow.
    """
    if cell.precision != "fp16":
        return None
    return amp.DynamicLossScaler(scale_value=2**10, scale_factor=2, scale_window=50)


def computed(model: nn.Cell, inputs: tuple[Tensor, ...]) -> str:
    """The type of the last product: of a mixed model's logits before they become float32."""
    inner = getattr(model, "_backbone", model)
    training = model.training
    model.set_train(False)
    product = inner(*inputs)
    model.set_train(training)
    return str(product.dtype)


def moments(optimizer: nn.Cell) -> list[Tensor]:
    """Of Momentum, or of AdamW: neither has one public name for them."""
    names = ("moments", "exp_avg", "exp_avg_sq")
    return [one for name in names for one in getattr(optimizer, name, ())]


def synchronize(cell: Cell, result: Tensor | None) -> None:
    """``ms.runtime.synchronize`` knows no CPU: it logs an error and returns at once."""
    if cell.device != "cpu":
        ms.runtime.synchronize()
    elif result is not None:
        result.asnumpy()


def peak_bytes(cell: Cell) -> int | None:
    """None on a CPU, of which MindSpore counts nothing."""
    return None if cell.device == "cpu" else int(ms.runtime.max_memory_allocated())
