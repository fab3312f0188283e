"""An adapter that somebody has begun: five names are still missing, and one question kills it."""

from __future__ import annotations

import os
import signal

from bench.contract import Batches, Cell, Program, Settings, Weights
from bench.rendezvous import Rendezvous

NAME = "half"
DIST = "numpy"


def devices() -> list[str]:
    return ["cpu"]


def absent(device: str) -> str:
    return f"half has no {device}"


def unsupported(cell: Cell) -> str | None:
    return None if cell.precision == "fp32" else f"half has no {cell.precision} products"


def setup(cell: Cell) -> None: ...


def effective(cell: Cell) -> Settings:
    return {"threads": cell.threads, "odd": {1, 2}}


def build(cell: Cell, weights: Weights, batches: Batches) -> Program:
    raise NotImplementedError("the models come next")


def stream(cell: Cell, n: int) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def gemm(cell: Cell, precision: str, n: int) -> None: ...


def launch(cell: Cell, at: Rendezvous) -> list[str]:
    return ["torchrun"]
