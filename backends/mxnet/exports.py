"""MXNet's files: ONNX by mxnet.onnx, and the symbol with its parameters."""

from __future__ import annotations

import warnings
from pathlib import Path

import mxnet as mx
import onnx
from mxnet.gluon import SymbolBlock
from mxnet.ndarray import NDArray
from mxnet.onnx.mx2onnx._export_onnx import MXNetGraph
from onnx import TensorProto, checker, helper

from backends.mxnet.precision import NAMES, context
from backends.mxnet.programs import Inference
from bench.contract import INPUTS, Cell, Settings
from bench.dims import CnnDims

NATIVE = "model"
SYMBOL, PARAMS = f"{NATIVE}-symbol.json", f"{NATIVE}-0000.params"
OPSET, IR_VERSION = 13, 7
TYPES = {"cnn": TensorProto.FLOAT, "transformer": TensorProto.INT64}


def write(cell: Cell, program: Inference, path: Path) -> Settings:
    """Write the program's model below ``path``, its batch dimension dynamic."""
    path.mkdir(parents=True, exist_ok=True)
    if cell.format == "onnx":
        return write_onnx(cell, program, path / "model.onnx")
    program.infer(0)  # traces the graph that is written
    # By default the casts of mixed precision would be left out of the file.
    program.model.export(str(path / NATIVE), remove_amp_cast=False)
    return {"file": SYMBOL, "exporter": "HybridBlock.export"}


def write_onnx(cell: Cell, program: Inference, file: Path) -> Settings:
    """The exporter's graph, as its ``export_model`` makes it, in the newest opset that it knows.

    Not through ``export_model``: it asks the onnx package for its newest opset, of which it knows
    nothing, and labels the file with it.
    """
    names = INPUTS[cell.model]
    symbol = program.model(*(mx.sym.var(name) for name in names))
    symbol = mx.sym.identity(symbol, name="logits")
    shapes = [array.shape for array in program.inputs[0]]
    checker.DEFAULT_CONTEXT.opset_imports = {"": OPSET}  # the exporter checks what it made
    checker.DEFAULT_CONTEXT.ir_version = IR_VERSION
    graph = MXNetGraph().create_onnx_graph_proto(
        symbol,
        {name: one.data() for name, one in program.model.collect_params().items()},
        shapes,
        [TYPES[cell.model]] * len(names),
        opset_version=OPSET,
        dynamic=True,
        dynamic_input_shapes=[(None, *shape[1:]) for shape in shapes],
    )
    # The exporter lists every weight as an input too, which keeps a runtime from folding it.
    for value in [value for value in graph.input if value.name not in names]:
        graph.input.remove(value)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.save(model, str(file))
    written = onnx.load(str(file))
    return {
        "file": file.name,
        "exporter": "mxnet.onnx",
        "opset": next(entry.version for entry in written.opset_import if not entry.domain),
        "ir_version": written.ir_version,
    }


def read(cell: Cell, path: Path) -> SymbolBlock:
    """The block in ``path``; MXNet's error if a file is cut short or a parameter does not fit.

    Nothing in the two files is code: a graph of MXNet's operators as JSON, and plain arrays.
    """
    inputs = list(NAMES[len(INPUTS[cell.model])])
    with warnings.catch_warnings():
        # It cannot know the inputs' types yet, and need not.
        warnings.filterwarnings("ignore", "Cannot decide type for the following arguments")
        symbol, params = str(path / SYMBOL), str(path / PARAMS)
        block = SymbolBlock.imports(symbol, inputs, params, ctx=context(cell))
    block(*sample(cell))  # only now are parameters given their shapes, and held against them
    mx.nd.waitall()
    return block


def sample(cell: Cell) -> tuple[NDArray, ...]:
    """Inputs of one sample."""
    dims, where = cell.dims, context(cell)
    if isinstance(dims, CnnDims):
        return (mx.nd.zeros((1, dims.channels, dims.image, dims.image), ctx=where),)
    ids = mx.nd.zeros((1, dims.sequence), ctx=where)
    return ids, mx.nd.ones_like(ids)
