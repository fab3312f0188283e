"""A user's own ONNX file: what it takes, its int8 variant, and a session that answers requests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from backends.onnxruntime.files import INT8, Calibration
from backends.onnxruntime.sessions import options, providers, read_options
from bench.contract import Cell, Settings
from bench.worker.feeds import Feed, Input

PRECISIONS = ("fp32", "int8")


def inputs(path: Path) -> list[Input]:
    """Older files list their weights among the inputs; those are left out."""
    graph = onnx.load(path, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    return [_input(value) for value in graph.input if value.name not in weights]


def _input(value: onnx.ValueInfoProto) -> Input:
    tensor = value.type.tensor_type
    shape = tuple(
        size.dim_value or size.dim_param or f"{value.name}.{axis}"
        for axis, size in enumerate(tensor.shape.dim)
    )
    return Input(value.name, helper.tensor_dtype_to_np_dtype(tensor.elem_type).name, shape)


def unsupported(cell: Cell) -> str | None:
    if cell.precision not in PRECISIONS:
        return f"a file is run as it is (fp32) or quantised (int8), not in {cell.precision}"
    if cell.precision == "int8" and cell.device != "cpu":
        return f"its quantised products have kernels for CPUs, not for {cell.device}"
    return None


class Session:
    """Answers with the outputs on the host, as a service would have to."""

    def __init__(self, cell: Cell, path: Path, given: list[Feed], method: str) -> None:
        self.session = ort.InferenceSession(str(path), options(cell), providers=providers(cell))
        self.given = given
        self.method = method

    def run(self, index: int) -> Sequence[np.ndarray]:
        answers: Sequence[np.ndarray] = self.session.run(None, self.given[index])
        return answers

    def facts(self) -> Settings:
        return {
            "providers": self.session.get_providers(),
            "quantization": self.method,
            **read_options(self.session.get_session_options()),
        }


def serve(cell: Cell, path: Path, given: list[Feed], folder: Path) -> Session:
    if cell.precision == "fp32":
        return Session(cell, path, given, "none")
    made, method = folder / "quantised.onnx", quantise(path, given, folder)
    return Session(cell, made, given, method)


def quantise(path: Path, given: list[Feed], folder: Path) -> str:
    """As ONNX Runtime's documentation has it: static, calibrated on the requests, where there are
    convolutions, else dynamic. Returns which.
    """
    whole, prepared, made = (folder / f"{name}.onnx" for name in ("whole", "prepared", "quantised"))
    # Exporters keep weights in a second file, which the quantiser does not find from a folder of
    # its own.
    onnx.save(onnx.load(path), whole)
    quant_pre_process(whole, prepared, skip_symbolic_shape=True)
    kinds = {node.op_type for node in onnx.load(prepared, load_external_data=False).graph.node}
    if "Conv" not in kinds:
        extra = {"DefaultTensorType": onnx.TensorProto.FLOAT}
        quantization.quantize_dynamic(prepared, made, weight_type=INT8, extra_options=extra)
        return "dynamic"
    quantization.quantize_static(
        prepared,
        made,
        Calibration(given),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=INT8,
    )
    return "static"
