"""Single operations of PyTorch, for what is asked of the machine."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from backends.torch.placing import device
from backends.torch.programs import DTYPES, synchronize
from bench.contract import Cell, Kernel


def matmul(cell: Cell, precision: str, n: int) -> Kernel:
    """An n x n x n matrix product in one precision."""
    tf32 = precision == "tf32"
    where: Any = {"device": device(cell), "dtype": DTYPES.get(precision, torch.float32)}
    # Random: a GPU multiplies ones faster than real numbers, for it draws less power.
    left, right, out = (torch.rand(n, n, **where) for _ in range(3))

    def product() -> Tensor:
        settings = torch.backends.cuda.matmul
        before, settings.allow_tf32 = settings.allow_tf32, tf32
        torch.mm(left, right, out=out)
        settings.allow_tf32 = before
        return out

    return Kernel(product, lambda _: synchronize(cell))


def stream(cell: Cell, n: int) -> Kernel:
    """Adds 1 to n float32 numbers."""
    source, out = (torch.ones(n, device=device(cell)) for _ in range(2))
    return Kernel(lambda: torch.add(source, 1.0, out=out), lambda _: synchronize(cell))
