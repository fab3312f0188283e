"""What ONNX Runtime is asked beside speed; it has no checkpoints, its files are models."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort

from backends.onnxruntime import files
from backends.onnxruntime.adapter import FILE
from backends.onnxruntime.sessions import Bound, Inference
from bench.capabilities import Flexible
from bench.contract import Batch, Cell, Program, Unsupported, Weights


def save(program: Program, folder: Path) -> None:
    assert isinstance(program, Inference)
    shutil.copyfile(program.path, folder / FILE)


def restore(program: Program, folder: Path) -> None:
    """The file may name libraries of operators, but only a session's options can load them."""
    assert isinstance(program, Inference)
    chosen = program.bound.session.get_session_options()
    program.bound.session = ort.InferenceSession(str(folder / FILE), chosen)


def flexible(cell: Cell, weights: Weights) -> Flexible:
    """A session optimises its graph once; batch and sequence are named dimensions in the file."""
    cell = replace(cell, dims=replace(cell.dims, sequence=0))
    made = files.ensure(cell, weights, calibration=())
    sessions = [Bound(cell, str(made.path), []).session]

    def infer(batch: Batch) -> np.ndarray:
        logits: np.ndarray = sessions[0].run(None, files.feed(cell, batch))[0]
        return logits

    return Flexible(infer, lambda: len(sessions))


def tensors(path: Path) -> Mapping[str, np.ndarray]:
    raise Unsupported("ONNX Runtime reads models in ONNX and ORT format; it has no safetensors")


def take(array: np.ndarray) -> ort.OrtValue:
    return ort.OrtValue.from_dlpack(array)


def give(tensor: ort.OrtValue) -> ort.OrtValue:
    """A value has ``__dlpack__`` itself."""
    return tensor
