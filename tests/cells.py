"""One cell for tests that need one, to be changed as they like."""

from __future__ import annotations

from typing import Any

from bench.contract import Cell, Optimizer
from bench.dims import CnnDims

CNN = CnnDims(image=32, channels=3, classes=10, stem="3x3", widths=(16, 32), blocks=(1, 2))


def cell(**changes: Any) -> Cell:
    values: dict[str, Any] = {
        "backend": "torch",
        "workload": "cnn",
        "model": "cnn",
        "size": "tiny",
        "device": "cpu",
        "precision": "fp32",
        "mode": "eager",
        "track": "out-of-box",
        "batch": 32,
        "dims": CNN,
        "optimizer": Optimizer("sgd", lr=0.005, momentum=0.9),
        "threads": 2,
    }
    return Cell(**values | changes)
