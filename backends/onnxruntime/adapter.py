"""ONNX Runtime: inference from ONNX files, with its own graph optimiser and IO binding."""

from __future__ import annotations

import dataclasses
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from backends import answers
from backends.onnxruntime import blockwise, files, models
from backends.onnxruntime.sessions import PROVIDERS, Bound, Inference, options, read_options
from bench import contract
from bench.contract import GENERATE, Batches, Cell, Kernel, Program, Settings, Weights

NAME = "onnxruntime"
DIST = answers.distribution("onnxruntime", "onnxruntime-gpu", "onnxruntime-rocm")
launch = contract.one_process
allreduce = contract.no_allreduce
peak_device_bytes = contract.no_device_bytes

FILE = "model.onnx"
NUMPY_TYPES = {"fp32": np.float32, "tf32": np.float32, "int8": np.uint8}


@cache
def devices() -> list[str]:
    """The devices whose provider really starts; ONNX Runtime falls back to the CPU silently."""
    model = models.matmul(2).SerializeToString()
    found = []
    for device, provider in PROVIDERS.items():
        if provider in ort.get_available_providers():
            session = ort.InferenceSession(model, providers=[provider])
            found += [device] if session.get_providers()[0] == provider else []
    return found


def absent(device: str) -> str:
    """ONNX Runtime takes the CPU instead and only warns; its list says what there would be."""
    there = ", ".join(ort.get_available_providers())
    return f"its providers are {there}, of which none works on {device}"


def unsupported(cell: Cell) -> str | None:
    """The first reason why the cell cannot be run, in words."""
    if cell.trains:
        return "ONNX Runtime's training package ended at 1.19.2; this package only infers"
    if cell.workload == GENERATE and (found := _generation(cell)):
        return found
    if cell.precision not in NUMPY_TYPES:
        return f"this adapter makes float32 and int8 files, not {cell.precision}"
    if cell.precision == "tf32" and cell.device != "cuda":
        return f"TF32 is a mode of NVIDIA's tensor cores; {cell.device} has none"
    return None


def _generation(cell: Cell) -> str | None:
    if cell.device != "cpu" and cell.precision in NUMPY_TYPES:
        return (
            "its operator of attention over a cache, GroupQueryAttention, has no float32 kernel for"
            f" {cell.device}, only for CPUs"
        )
    if cell.device == "cpu" and cell.precision in ("bf16", "fp16"):
        return (
            f"its provider for CPUs has no {cell.precision} matrix products (MatMul): a session"
            " would cast each weight to float32 on the way"
        )
    if files.QUANTIZATION in cell.settings:
        return (
            f"{files.QUANTIZATION}=... is of files with whole tensors rounded; a decoder's weights"
            f" are rounded in blocks ({blockwise.METHOD})"
        )
    return None


def setup(cell: Cell) -> None:
    """Nothing is global here: threads, spinning and the provider belong to a session."""


def effective(cell: Cell) -> Settings:
    """What a session would be given; what one was given is among its program's facts."""
    return read_options(options(cell))


def build(cell: Cell, weights: Weights, batches: Batches) -> Program:
    made = files.ensure(cell, weights, calibration=batches.train)
    bound = Bound(cell, str(made.path), [files.feed(cell, one) for one in batches.infer])
    facts = {
        "quantization": files.method(cell),
        "model_file": "cached" if made.cached else "made",
    }
    trained = sum(value.size for name, value in weights.items() if ".running_" not in name)
    return Inference(bound, path=made.path, n_params=trained, file_facts=facts)


def export(cell: Cell, program: Program, path: Path) -> Settings:
    """The file that the program runs from is the export."""
    assert isinstance(program, Inference)
    path.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(program.path, path / FILE)
    written = onnx.load(path / FILE, load_external_data=False)
    return {
        "file": FILE,
        "exporter": f"onnx.helper {onnx.__version__}",
        "opset": next(entry.version for entry in written.opset_import if not entry.domain),
        "ir_version": written.ir_version,
        "quantization": files.method(cell),
    }


def check(cell: Cell, path: Path) -> None:
    """Raise with onnx's words if the file is not a valid model. Nothing in it is executed."""
    onnx.checker.check_model(str(path / FILE), full_check=True)


def load(cell: Cell, path: Path, batches: Batches) -> Program:
    """``n_params`` is what the file holds: exporters fold BatchNorm and add constants."""
    file = path / FILE
    graph = onnx.load(file, load_external_data=False).graph
    held = sum(int(np.prod(tensor.dims)) for tensor in graph.initializer)
    bound = Bound(cell, str(file), [files.feed(cell, one) for one in batches.infer])
    return Inference(bound, path=file, n_params=held, file_facts={})


def gemm(cell: Cell, precision: str, n: int) -> Kernel | None:
    """MatMul in float32, MatMulInteger (uint8 x int8) for int8."""
    if precision not in NUMPY_TYPES or (precision == "tf32" and cell.device != "cuda"):
        return None
    model = models.matmul(n, int8=precision == "int8").SerializeToString()
    left = (np.random.default_rng(0).random((n, n)) * 255).astype(NUMPY_TYPES[precision])
    return _kernel(Bound(dataclasses.replace(cell, precision=precision), model, [{"x": left}]))


def stream(cell: Cell, n: int) -> Kernel:
    model = models.increment(n).SerializeToString()
    return _kernel(Bound(cell, model, [{"x": np.ones(n, np.float32)}]))


def _kernel(bound: Bound) -> Kernel:
    return Kernel(bound.run, lambda _: bound.wait())
