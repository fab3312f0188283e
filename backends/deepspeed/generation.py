"""Greedy generation by DeepSpeed's inference engine; the network with its cache is torch's.

Without kernel injection: its kernels know published architectures by their classes, and run on
GPUs.
"""

from __future__ import annotations

from typing import Any

import deepspeed
import numpy as np
import torch

from backends.torch import generation
from backends.torch.programs import DTYPES
from bench.contract import Cell, Settings, Weights


class Generation(generation.Generation):
    """``forward`` is the engine, which compiles its module in place."""

    def facts(self) -> Settings:
        facts = super().facts()
        if not facts:
            return facts
        engine: Any = self.forward
        return {**facts, "compiled": engine.is_compiled, "engine": type(engine).__name__}


def start(cell: Cell, weights: Weights, prompts: np.ndarray) -> Generation:
    network = generation.cached(cell, weights, prompts)
    dtype = DTYPES.get(cell.precision, torch.float32)
    engine = deepspeed.init_inference(network, dtype=dtype, replace_with_kernel_inject=False)
    if cell.mode == "compiled":
        engine.compile(compile_kwargs={"dynamic": False})
    return Generation(cell, network, prompts, forward=engine)
