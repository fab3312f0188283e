"""ONNX files made from the canonical weights: float32 or int8, cached by content.

The quantisation follows ONNX Runtime's documentation ("Quantize ONNX models"): dynamic for
transformers, static QDQ with calibration for convolutional networks.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from backends.onnxruntime import models
from bench.contract import Batch, BenchError, Cell, Weights, inputs_of

CACHE = "BENCH_MODEL_CACHE"
QUANTIZATION = "quantization"
INT8 = quantization.QuantType.QInt8
METHODS = {"cnn": "static", "transformer": "dynamic"}


@dataclass(frozen=True)
class Made:
    """A file, and whether it was there already."""

    path: Path
    cached: bool


def method(cell: Cell) -> str:
    """How the cell's file is quantised: none, dynamic or static."""
    if cell.precision != "int8":
        return "none"
    return cell.settings.get(QUANTIZATION, METHODS[cell.model])


def feed(cell: Cell, batch: Batch) -> dict[str, np.ndarray]:
    names = inputs_of(cell.model, len(batch) - 1)
    return {name: np.ascontiguousarray(batch[name]) for name in names}


def ensure(cell: Cell, weights: Weights, *, calibration: Iterable[Batch]) -> Made:
    """The cell's file, from the cache if ``$BENCH_MODEL_CACHE`` names one and it is there."""
    feeds = [feed(cell, batch) for batch in calibration] if method(cell) == "static" else []
    folder = Path(os.environ.get(CACHE, "onnx-models")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key(cell, weights, feeds)}.onnx"
    if path.exists():
        return Made(path, cached=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        write(cell, weights, feeds, folder=Path(scratch)).replace(path)
    return Made(path, cached=False)


def key(cell: Cell, weights: Weights, feeds: Iterable[Mapping[str, np.ndarray]]) -> str:
    """Everything that the file's content depends on, this code's text included."""
    digest = hashlib.sha256(f"{cell.dims} {cell.track} {method(cell)}".encode())
    digest.update(f"{onnx.__version__} {onnxruntime.__version__}".encode())
    for source in (models.__file__, __file__):
        digest.update(Path(source).read_bytes())
    for tensors in (weights, *feeds):
        for name in sorted(tensors):
            value = np.ascontiguousarray(tensors[name])
            digest.update(f"{name} {value.dtype} {value.shape}".encode())
            digest.update(value.data)
    return digest.hexdigest()[:32]


def write(
    cell: Cell, weights: Weights, feeds: list[dict[str, np.ndarray]], *, folder: Path
) -> Path:
    """Make the file below ``folder``."""
    plain = folder / "plain.onnx"
    # The static quantiser stops at the fused operator: it finds no scale behind it.
    fused = cell.track == "tuned" and method(cell) != "static"
    onnx.save(models.make(cell.dims, weights, fused=fused), plain)
    if method(cell) == "none":
        return plain
    # Folds BatchNorm into the convolutions; else each would be rounded apart.
    prepared, made = folder / "prepared.onnx", folder / "quantised.onnx"
    quant_pre_process(plain, prepared, skip_symbolic_shape=True)
    if method(cell) == "dynamic":
        # Shape inference does not know the types of ONNX Runtime's own operators.
        options = {"DefaultTensorType": onnx.TensorProto.FLOAT}
        quantization.quantize_dynamic(prepared, made, weight_type=INT8, extra_options=options)
        return made
    if not feeds:
        raise BenchError("static quantisation needs training batches to calibrate on")
    quantization.quantize_static(
        prepared,
        made,
        Calibration(feeds),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=INT8,
    )
    return made


class Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]  # it is untyped
    """Hands the batches out one by one, as ONNX Runtime's calibrator asks for them."""

    def __init__(self, feeds: list[dict[str, np.ndarray]]) -> None:
        self.feeds: Iterator[dict[str, np.ndarray]] = iter(feeds)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)
