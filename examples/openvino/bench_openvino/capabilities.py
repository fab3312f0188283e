"""What OpenVINO is asked beside speed; it has no checkpoints, its files are models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from backends.onnxruntime import models
from bench.capabilities import Flexible
from bench.contract import Batch, Cell, Program, Unsupported, Weights
from bench_openvino.programs import CORE, Inference, Runner, compiled, feed

FILE = "model.xml"


def save(program: Program, folder: Path) -> None:
    assert isinstance(program, Inference)
    ov.save_model(program.source, folder / FILE, compress_to_fp16=False)


def restore(program: Program, folder: Path) -> None:
    assert isinstance(program, Inference)
    program.source = CORE.read_model(folder / FILE)
    program.runner = Runner(compiled(program.cell, program.source), program.runner.kept)


def flexible(cell: Cell, weights: Weights) -> Flexible:
    """Batch and sequence are dynamic in the file, and the compiled model takes any."""
    cell = replace(cell, dims=replace(cell.dims, sequence=0))
    model = CORE.read_model(models.make(cell.dims, weights).SerializeToString())
    programs = [compiled(cell, model)]

    def infer(batch: Batch) -> np.ndarray:
        runner = Runner(programs[0], [feed(cell, batch)])
        runner.run()
        return runner.result()

    return Flexible(infer, lambda: len(programs))


def tensors(path: Path) -> Mapping[str, np.ndarray]:
    raise Unsupported("OpenVINO reads models, not files of tensors such as safetensors")


def take(array: np.ndarray) -> Any:
    raise Unsupported("openvino.Tensor shares memory with NumPy arrays and has no DLPack")


def give(tensor: Any) -> Any:
    raise Unsupported("openvino.Tensor shares memory with NumPy arrays and has no DLPack")
