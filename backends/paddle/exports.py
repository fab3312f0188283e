"""Paddle's files: its static program, and ONNX by paddle2onnx."""

from __future__ import annotations

import json
import math
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
import paddle
import paddle2onnx
from paddle import nn
from paddle.static import InputSpec

from bench.contract import INPUTS, BenchError, Cell, Settings
from bench.dims import CnnDims

ONNX = "model.onnx"
GRAPH, WEIGHTS = "model.json", "model.pdiparams"
OPSET = 17
HEADER = struct.Struct("<IQIi")


class FileError(BenchError):
    """A file that cannot be written or is not whole."""


def specs(cell: Cell) -> list[InputSpec]:
    """The model's inputs under their names, the batch dimension dynamic."""
    if isinstance(cell.dims, CnnDims):
        shape, dtype = [None, cell.dims.channels, cell.dims.image, cell.dims.image], "float32"
    else:
        shape, dtype = [None, cell.dims.sequence], "int64"
    return [InputSpec(shape, dtype, name) for name in INPUTS[cell.model]]


def write_native(cell: Cell, model: nn.Layer, path: Path) -> Settings:
    """``paddle.jit.save``: the program as JSON and its weights beside it."""
    path.mkdir(parents=True, exist_ok=True)
    paddle.jit.save(model, str(path / Path(GRAPH).stem), input_spec=specs(cell))
    return {"file": GRAPH, "exporter": "paddle.jit.save"}


def write_onnx(cell: Cell, model: nn.Layer, path: Path) -> Settings:
    """As ``paddle.onnx.export`` does: the static program first, then paddle2onnx."""
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path) as folder:
        write_native(cell, model, Path(folder))
        content = convert(Path(folder))
    written = onnx.load_from_string(content)
    rename_output(written, "logits")
    onnx.save(written, path / ONNX)
    return {
        "file": ONNX,
        "exporter": "paddle2onnx.export",
        "opset": next(entry.version for entry in written.opset_import if not entry.domain),
        "ir_version": written.ir_version,
    }


def convert(folder: Path) -> bytes:
    """The ONNX file of a static program.

    Not through paddle.onnx.export: it always folds constants with Polygraphy, which installs a
    package from a foreign index where it finds pip. Without a file to save, nothing is folded.
    """
    try:
        content: bytes = paddle2onnx.export(
            str(folder / GRAPH), str(folder / WEIGHTS), opset_version=OPSET
        )
    except SystemExit as error:  # paddle2onnx ends the process where it cannot convert
        raise FileError("paddle2onnx could not convert the program; the log says why") from error
    return content


def rename_output(model: onnx.ModelProto, name: str) -> None:
    """Paddle names outputs itself, and has no argument for it."""
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = [name if made == output.name else made for made in node.output]
        node.input[:] = [name if used == output.name else used for used in node.input]
    output.name = name


def parameters(path: Path) -> list[tuple[int, bool]]:
    """Size and whether it is trained, of each parameter; FileError if a file is not whole.

    Paddle does not look at the end of the weights: what is missing of the last tensor passes.
    """
    try:
        program = json.loads((path / GRAPH).read_text(encoding="utf-8"))["program"]
        (region,) = program["regions"]
        ops = [op for op in region["blocks"][0]["ops"] if op["#"] == "p"]
        # OA: is it persistent, is its gradient stopped, is it trained.
        found = [(math.prod(op["O"]["TT"]["D"][1]), bool(op["OA"][2])) for op in ops]
        there = tensor_sizes(path / WEIGHTS)
    except (OSError, ValueError, LookupError, TypeError, struct.error) as error:
        raise FileError(f"{path.name} holds no whole Paddle program: {error!r}") from error
    if sorted(there) != sorted(size for size, _ in found):
        raise FileError(f"{WEIGHTS} holds {len(there)} tensors, not those of {GRAPH}")
    return found


def tensor_sizes(file: Path) -> list[int]:
    """Elements of each float32 tensor in a file of Paddle's; ValueError if it ends too early.

    A tensor is two format numbers with the level of detail between them, a protobuf description
    (tag 16 before each dimension) with its length before it, and the values.
    """
    sizes, end = [], file.stat().st_size
    with file.open("rb") as stream:
        while stream.tell() < end:
            *_, length = HEADER.unpack(stream.read(HEADER.size))
            numbers = list(varints(stream.read(length)))
            dims = [value for tag, value in zip(numbers[::2], numbers[1::2]) if tag == 16]
            sizes.append(math.prod(dims))
            stream.seek(4 * sizes[-1], os.SEEK_CUR)
        if stream.tell() > end:
            raise ValueError(f"{file.name} ends within a tensor")
    return sizes


def varints(data: bytes) -> Iterator[int]:
    """Protobuf's numbers: seven bits a byte, the lowest first."""
    value = shift = 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield value
            value = shift = 0


def check(path: Path) -> None:
    """Raise FileError, or Paddle's own error, if the program cannot be loaded."""
    parameters(path)
    paddle.jit.load(str(path / Path(GRAPH).stem))
