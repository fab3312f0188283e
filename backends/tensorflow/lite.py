"""TFLite files: made by TensorFlow's converter, run by LiteRT.

int8 follows TensorFlow's "Post-training quantization": dynamic range for transformers, full
integer with calibration for convolutional networks; inputs and outputs stay float32.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from backends.tensorflow.programs import place
from bench.contract import INPUTS, Batches, Cell, Program, Settings


def convert(cell: Cell, model: keras.Model, batches: Batches | None = None) -> bytes:
    """The file's content. batches: what int8 is calibrated on, from ``train``."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if cell.precision == "int8":
        assert batches is not None, "int8 is calibrated"
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if cell.model == "cnn":
            converter.representative_dataset = lambda: calibration(cell, batches)
    content: bytes = converter.convert()
    return content


def calibration(cell: Cell, batches: Batches) -> Iterator[list[tf.Tensor]]:
    for batch in batches.train:
        yield place(cell, batch)


def constants(content: bytes) -> list[tuple[int, str]]:
    """Number of elements and type of each tensor whose values lie in the file."""
    types = {value: name.lower() for name, value in vars(schema.TensorType).items()}
    model = schema.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    tensors = (graph.Tensors(index) for index in range(graph.TensorsLength()))
    return [
        (int(np.prod(tensor.ShapeAsNumpy())), types[tensor.Type()])
        for tensor in tensors
        if model.Buffers(tensor.Buffer()).DataLength()
    ]


class Lite(Program):
    """A file under LiteRT: an interpreter for each batch size, because a new one plans memory.

    n_params: by default what the file holds, BatchNorm folded and constants counted.
    """

    def __init__(
        self, cell: Cell, content: bytes, batches: Batches, *, n_params: int | None = None
    ) -> None:
        self.content = content
        self.constants = constants(content)
        self.n_params = sum(size for size, _ in self.constants) if n_params is None else n_params
        self.inputs = [[tensor.numpy() for tensor in place(cell, one)] for one in batches.infer]
        self.interpreters: dict[int, Interpreter] = {}
        for tensors in self.inputs:
            if len(tensors[0]) not in self.interpreters:
                self.interpreters[len(tensors[0])] = interpreter(cell, content, tensors)
        self.current = next(iter(self.interpreters.values()))
        self.order = order(cell, self.current)

    def infer(self, index: int) -> None:
        tensors = self.inputs[index]
        self.current = self.interpreters[len(tensors[0])]
        for place_of, tensor in zip(self.order, tensors):
            self.current.set_tensor(place_of, tensor)
        self.current.invoke()

    def logits(self) -> np.ndarray:
        found: np.ndarray = self.current.get_tensor(self.current.get_output_details()[0]["index"])
        return found

    def wait(self) -> None:
        """``invoke`` returns when it is done."""

    def close(self) -> None:
        self.__dict__.clear()

    def facts(self) -> Settings:
        """The type of the largest constant is that of the products; nothing once it is closed."""
        return {"matmul_dtype": max(self.constants)[1]} if self.__dict__ else {}


def interpreter(cell: Cell, content: bytes, tensors: list[np.ndarray]) -> Interpreter:
    made = Interpreter(model_content=content, num_threads=cell.threads)
    for index, tensor in zip(order(cell, made), tensors):
        made.resize_tensor_input(index, tensor.shape)
    made.allocate_tensors()
    return made


def order(cell: Cell, made: Interpreter) -> list[int]:
    """Places of the model's inputs: the converter sorts them and lengthens their names."""
    found = {one["name"]: one["index"] for one in made.get_input_details()}
    return [
        next(index for name, index in found.items() if wanted in name)
        for wanted in INPUTS[cell.model]
    ]


def check(content: bytes) -> None:
    """Raise with LiteRT's words if it does not take the file."""
    Interpreter(model_content=content).allocate_tensors()
