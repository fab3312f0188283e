"""A compiled model with its inputs: what OpenVINO runs, and what it says of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov

from backends import answers
from bench.contract import INPUTS, Batch, Cell, Program, Settings

CORE = ov.Core()
DEVICES = {"cpu": "CPU"}
HINTS = {"fp32": "f32", "bf16": "bf16"}
PRODUCTS = ("Convolution", "FullyConnected", "MatMul")  # layer types of its CPU plugin


def compiled(cell: Cell, model: ov.Model) -> ov.CompiledModel:
    """For one caller at a time. The precision is always asked for: its own choice is bfloat16
    wherever the processor multiplies in it, whatever the file holds.
    """
    properties = {
        "INFERENCE_PRECISION_HINT": HINTS[cell.precision],
        "INFERENCE_NUM_THREADS": cell.threads,
        "PERFORMANCE_HINT": "LATENCY",
        # Threads stay where the harness put the process, not where OpenVINO would pin them.
        "ENABLE_CPU_PINNING": False,
    }
    return CORE.compile_model(model, DEVICES[cell.device], properties)


class Runner:
    """One request of a compiled model. It takes one batch at a time: starting waits for the last.

    feeds: the inputs of each batch, by name; their memory is shared, so a run copies nothing.
    """

    def __init__(self, model: ov.CompiledModel, feeds: list[dict[str, np.ndarray]]) -> None:
        self.model = model
        self.request = model.create_infer_request()
        self.feeds = [
            {name: ov.Tensor(value, shared_memory=True) for name, value in feed.items()}
            for feed in feeds
        ]
        self.kept = feeds  # what is shared must stay alive

    def run(self, index: int = 0) -> None:
        self.request.wait()
        for name, tensor in self.feeds[index].items():
            self.request.set_tensor(name, tensor)
        self.request.start_async()

    def result(self) -> np.ndarray:
        """The first output of the last run, copied (waits)."""
        self.request.wait()
        return np.array(self.request.get_output_tensor(0).data, np.float32)


class Inference(Program):
    """onnx: the file's bytes where the model came from one, else empty."""

    def __init__(
        self, cell: Cell, model: ov.Model, batches: list[Batch], *, onnx: bytes, n_params: int
    ) -> None:
        self.cell = cell
        self.source = model
        self.onnx = onnx
        self.n_params = n_params
        self.runner = Runner(compiled(cell, model), [feed(cell, batch) for batch in batches])

    def infer(self, index: int) -> None:
        self.runner.run(index)

    def wait(self) -> None:
        self.runner.request.wait()

    def logits(self) -> np.ndarray:
        return self.runner.result()

    def facts(self) -> Settings:
        return read(self.runner.model) if self.__dict__ else {}

    def close(self) -> None:
        self.__dict__.clear()


def feed(cell: Cell, batch: Batch) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(batch[name]) for name in INPUTS[cell.model]}


def read(model: ov.CompiledModel) -> Settings:
    """What is in force, asked of the compiled model: the types are those of its product kernels."""
    layers = [operation.get_rt_info() for operation in model.get_runtime_model().get_ops()]
    products = {plain(of["runtimePrecision"]) for of in layers if of["layerType"].value in PRODUCTS}
    return {
        "threads": model.get_property("INFERENCE_NUM_THREADS"),
        "streams": model.get_property("NUM_STREAMS"),
        "execution_devices": model.get_property("EXECUTION_DEVICES"),
        "precision_hint": model.get_property("INFERENCE_PRECISION_HINT").get_type_name(),
        **answers.dtypes(parameters=["float32"], compute=products),
    }


TYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


def plain(precision: Any) -> str:
    return TYPES.get(precision.value, precision.value)
