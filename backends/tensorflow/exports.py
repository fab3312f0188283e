"""TensorFlow's files: ONNX by tf2onnx, SavedModel, and TFLite (tensorflow_lite.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import onnx
import tensorflow as tf
import tf2onnx
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from backends.keras import onnx as keras_onnx  # noqa: F401  registers an operator with tf2onnx
from backends.tensorflow import lite
from backends.tensorflow.lite import Lite
from backends.tensorflow.programs import Inference, compiled
from bench.contract import INPUTS, Batches, BenchError, Cell, Program, Settings

FILES = {"onnx": "model.onnx", "native": "saved_model.pb", "tflite": "model.tflite"}
OPSET = 18
FILE_OPERATORS = {"ReadFile", "WriteFile"}
"""What TensorFlow's own ``saved_model_cli scan`` warns of."""


class UnsafeFileError(BenchError):
    """The SavedModel has operators that read or write files."""


def write(cell: Cell, program: Inference | Lite, path: Path) -> Settings:
    """Write the program's model below ``path``, its batch dimension dynamic."""
    path.mkdir(parents=True, exist_ok=True)
    file = path / FILES[cell.format]
    if isinstance(program, Lite):
        file.write_bytes(program.content)
    elif cell.format == "onnx":
        return write_onnx(cell, program.model, file)
    elif cell.format == "tflite":
        file.write_bytes(lite.convert(cell, program.model))
    else:
        program.model.export(path, format="tf_saved_model", verbose=False)
        return {"file": file.name, "exporter": "keras.Model.export(format='tf_saved_model')"}
    return {"file": file.name, "exporter": "tf.lite.TFLiteConverter.from_keras_model"}


def write_onnx(cell: Cell, model: keras.Model, file: Path) -> Settings:
    tf2onnx.convert.from_function(
        serving(cell, model), input_signature=signature(cell), opset=OPSET, output_path=str(file)
    )
    written = onnx.load(file, load_external_data=False)
    return {
        "file": file.name,
        "exporter": f"tf2onnx {tf2onnx.__version__}",
        "opset": next(entry.version for entry in written.opset_import if not entry.domain),
        "ir_version": written.ir_version,
    }


def signature(cell: Cell) -> list[tf.TensorSpec]:
    """The inputs as every ONNX file here has them: channels first, integers of 64 bits."""
    dims: Any = cell.dims
    if cell.model == "cnn":
        shape = (None, dims.channels, dims.image, dims.image)
        return [tf.TensorSpec(shape, tf.float32, name="image")]
    return [tf.TensorSpec((None, dims.sequence), tf.int64, name=n) for n in INPUTS[cell.model]]


def serving(cell: Cell, model: keras.Model) -> Any:
    """The model behind the inputs of ``signature``, its output named."""

    def cnn(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": model(tf.transpose(image, (0, 2, 3, 1)), training=False)}

    def encoder(ids: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = [tf.cast(ids, tf.int32), tf.cast(mask, tf.int32)]
        return {"logits": model(inputs, training=False)}

    return tf.function(cnn if cell.model == "cnn" else encoder, input_signature=signature(cell))


def check(cell: Cell, path: Path) -> None:
    """Raise for a file that does not load, and for a SavedModel that would read or write files."""
    content = (path / FILES[cell.format]).read_bytes()
    if cell.format == "tflite":
        lite.check(content)
        return
    if found := FILE_OPERATORS.intersection(operators(SavedModel.FromString(content))):
        raise UnsafeFileError(f"the SavedModel's graph has {' and '.join(sorted(found))}")
    tf.saved_model.load(path)


def operators(saved: SavedModel) -> Iterator[str]:
    for meta in saved.meta_graphs:
        yield from (node.op for node in meta.graph_def.node)
        for function in meta.graph_def.library.function:
            yield from (node.op for node in function.node_def)


def load(cell: Cell, path: Path, batches: Batches) -> Program:
    if cell.format == "tflite":
        return Lite(cell, (path / FILES["tflite"]).read_bytes(), batches)
    loaded = tf.saved_model.load(path)
    forward = compiled(cell, lambda inputs: loaded.serve(inputs if len(inputs) > 1 else inputs[0]))
    return Inference(cell, loaded, batches, forward=forward)
