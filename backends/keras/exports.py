"""Keras's files: ONNX by ``Model.export``, and its own ``.keras``, read in safe mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import onnx
from keras import layers
from onnx import TensorProto, helper

from bench.contract import Cell, Settings

FILES = {"onnx": "model.onnx", "native": "model.keras"}
OPSET = 18


def write(cell: Cell, model: keras.Model, path: Path) -> Settings:
    """Write the model below ``path``, its batch dimension dynamic."""
    path.mkdir(parents=True, exist_ok=True)
    file = path / FILES[cell.format]
    if cell.format == "native":
        model.save(file)
        return {"file": file.name, "exporter": "keras.Model.save"}
    if keras.backend.backend() == "tensorflow":
        from backends.keras import onnx as keras_onnx  # noqa: F401, PLC0415  # only this engine has tf2onnx
    served = serving(cell, model)
    served.export(
        file,
        format="onnx",
        input_signature=signature(cell, served),
        opset_version=OPSET,
        verbose=False,
    )
    written = mended(onnx.load(file))
    onnx.save(written, file)
    return {
        "file": file.name,
        "exporter": f"keras.Model.export(format='onnx') on {keras.backend.backend()}",
        "opset": next(entry.version for entry in written.opset_import if not entry.domain),
        "ir_version": written.ir_version,
    }


def serving(cell: Cell, model: keras.Model) -> keras.Model:
    """The model behind images with their channels first, as every ONNX file here takes them."""
    if cell.model != "cnn":
        return model
    height, width, channels = model.input.shape[1:]
    image = keras.Input((channels, height, width), name="image")
    return keras.Model(image, model(layers.Permute((2, 3, 1))(image)))


def signature(cell: Cell, model: keras.Model) -> list[Any]:
    """The inputs; on torch with the cell's own batch size.

    Keras documents its export from torch for fixed shapes only, and an encoder's LayerNorm stops
    the TorchScript exporter to which it turns for others.
    """
    batch = cell.batch if keras.backend.backend() == "torch" else None
    specs = [
        keras.InputSpec(one.dtype, (batch, *one.shape[1:]), name=one.name) for one in model.inputs
    ]
    return specs if len(specs) == 1 else [specs]


def mended(written: onnx.ModelProto) -> onnx.ModelProto:
    """The file with the names and types that its reader expects: ``logits``, int64."""
    graph = written.graph
    # jax2onnx notes shapes of a CNN's values that do not hold, and ONNX Runtime refuses the file.
    del graph.value_info[:]
    rename(graph, graph.output[0].name, "logits")
    graph.output[0].name = "logits"
    for value in graph.input:
        if value.type.tensor_type.elem_type == TensorProto.INT32:
            value.type.tensor_type.elem_type = TensorProto.INT64
            rename(graph, value.name, narrow := f"{value.name}_int32")
            cast = helper.make_node("Cast", [value.name], [narrow], to=TensorProto.INT32)
            graph.node.insert(0, cast)
    return written


def rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Call a value by another name in every node."""
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new


def read(path: Path) -> keras.Model:
    """The model in ``path``. Safe mode, and no custom objects: nothing in it is code."""
    return keras.saving.load_model(path / FILES["native"], compile=False, safe_mode=True)
