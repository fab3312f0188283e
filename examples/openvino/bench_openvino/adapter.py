"""OpenVINO: inference from ONNX files or its own IR, compiled for the processor."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
from openvino import opset13 as ops

from backends import answers
from backends.onnxruntime import models
from bench import contract
from bench.contract import Batches, Cell, Kernel, Program, Settings, Weights
from bench_openvino.programs import CORE, DEVICES, HINTS, Inference, Runner, compiled

NAME = "openvino"
DIST = "openvino"
launch = contract.one_process
allreduce = contract.no_allreduce
peak_device_bytes = contract.no_device_bytes

FILES = {"onnx": "model.onnx", "native": "model.xml"}
CAPABILITIES = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16"}  # its names for precisions


def devices() -> list[str]:
    there = CORE.available_devices
    return [device for device, own in DEVICES.items() if own in there]


def absent(device: str) -> str:
    return f"its devices here are {', '.join(CORE.available_devices)}; it has none for {device}"


def unsupported(cell: Cell) -> str | None:
    """The first reason why the cell cannot be run, in words."""
    if cell.trains:
        return "OpenVINO only infers: it has no gradients and no optimizers"
    if cell.precision == "int8":
        return "OpenVINO's int8 models are made by NNCF, which is not in this backend's lock"
    if cell.precision not in CAPABILITIES:
        return answers.precision(cell, "OpenVINO") or f"it has no precision {cell.precision}"
    if CAPABILITIES[cell.precision] not in (found := offered(cell)):
        # Asked for all the same, it takes bfloat16 or float32 and does not say so.
        return f"OpenVINO's plugin computes in {', '.join(found)} on this processor"
    return None


def offered(cell: Cell) -> list[str]:
    """Its names of the precisions that it computes in on the cell's device."""
    said = CORE.get_property(DEVICES[cell.device], "OPTIMIZATION_CAPABILITIES")
    return [name for name in said if name in CAPABILITIES.values()]


def setup(cell: Cell) -> None:
    """Nothing is global here: threads and precision belong to a compiled model."""


def effective(cell: Cell) -> Settings:
    """What compiling anything for the cell brings; what its own model got is its program's."""
    return {"threads": compiled(cell, addition(1)).get_property("INFERENCE_NUM_THREADS")}


def build(cell: Cell, weights: Weights, batches: Batches) -> Program:
    """From an ONNX file in memory, which OpenVINO reads itself: nothing is converted by hand."""
    file = models.make(cell.dims, weights).SerializeToString()
    trained = sum(value.size for name, value in weights.items() if ".running_" not in name)
    return Inference(cell, CORE.read_model(file), batches.infer, onnx=file, n_params=trained)


def export(cell: Cell, program: Program, path: Path) -> Settings:
    """ONNX: what the program was made from. Native: OpenVINO IR, weights as they are."""
    assert isinstance(program, Inference)
    path.mkdir(parents=True, exist_ok=True)
    file = path / FILES[cell.format]
    if cell.format == "native":
        ov.save_model(program.source, file, compress_to_fp16=False)
        return {"file": file.name, "exporter": f"openvino {ov.__version__}"}
    file.write_bytes(program.onnx)
    return {
        "file": file.name,
        "exporter": f"onnx.helper {onnx.__version__}",
        "opset": models.OPSET,
        "ir_version": models.IR_VERSION,
    }


def check(cell: Cell, path: Path) -> None:
    """By onnx's own checker; an IR, which has none, is read. Nothing in either is executed."""
    file = path / FILES[cell.format]
    if cell.format == "onnx":
        onnx.checker.check_model(str(file), full_check=True)
    else:
        CORE.read_model(file)


def load(cell: Cell, path: Path, batches: Batches) -> Program:
    """``n_params`` is what the file holds, constants included. Any exporter's file will do."""
    model = CORE.read_model(path / FILES[cell.format])
    held = [one for one in model.get_ops() if one.get_type_name() == "Constant"]
    count = sum(int(np.prod(one.get_output_shape(0))) for one in held)
    return Inference(cell, model, batches.infer, onnx=b"", n_params=count)


def gemm(cell: Cell, precision: str, n: int) -> Kernel | None:
    """What is given [n, n] times a constant; None where the processor has no such products."""
    if precision not in HINTS or CAPABILITIES[precision] not in offered(cell):
        return None
    right = ops.constant(np.ones((n, n), np.float32))
    x = ops.parameter([n, n], np.float32)
    model = ov.Model([ops.matmul(x, right, transpose_a=False, transpose_b=False)], [x], "gemm")
    left = np.random.default_rng(0).random((n, n), np.float32)
    return kernel(dataclasses.replace(cell, precision=precision), model, left)


def stream(cell: Cell, n: int) -> Kernel:
    return kernel(dataclasses.replace(cell, precision="fp32"), addition(n), np.ones(n, np.float32))


def addition(n: int) -> ov.Model:
    """Adds 1 to n float32 numbers, its input."""
    x = ops.parameter([n], np.float32)
    return ov.Model([ops.add(x, ops.constant(np.ones(1, np.float32)))], [x], "addition")


def kernel(cell: Cell, model: ov.Model, given: np.ndarray) -> Kernel:
    """Its result is a view of the output, which is filled when the run is done."""
    model.inputs[0].get_tensor().set_names({"x"})
    runner = Runner(compiled(cell, model), [{"x": given}])
    output = runner.request.get_output_tensor(0).data

    def enqueue() -> np.ndarray:
        runner.run()
        return output

    return Kernel(enqueue, lambda _: runner.request.wait())
