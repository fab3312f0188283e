"""JAX's files: ONNX by jax2onnx, and jax.export's StableHLO with the weights beside it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from jax import Array
from jax.export import Exported

from backends.jax.programs import Inference, channels_last
from backends.jax.split import State
from bench.contract import INPUTS, Cell, Settings
from bench.dims import EncoderDims

FILES = {"onnx": "model.onnx", "native": "model.stablehlo"}
WEIGHTS = "weights.npz"
ONNX_FILE_LIMIT = 1_900_000_000  # bytes; protobuf cannot hold 2 GiB, so weights go beside it


def write(cell: Cell, program: Inference, path: Path) -> Settings:
    """Write the program's model below ``path``, its batch dimension dynamic."""
    path.mkdir(parents=True, exist_ok=True)
    file = path / FILES[cell.format]
    if cell.format == "onnx":
        return write_onnx(cell, program, file=file)
    (batch,) = jax.export.symbolic_shape("batch")
    inputs = tuple(
        jax.ShapeDtypeStruct((batch, *value.shape[1:]), value.dtype) for value in program.inputs[0]
    )
    exported = jax.export.export(program.forward)(program.state, inputs)
    file.write_bytes(exported.serialize())
    np.savez(path / WEIGHTS, **name(program.state))
    return {
        "file": file.name,
        "exporter": "jax.export",
        "calling_convention": exported.calling_convention_version,
    }


def name(state: State) -> dict[str, Any]:
    """The arrays by their place in the exported function's first argument."""
    groups = zip(("params", "kept", "rest"), state)
    return {f"{group}.{place}": one for group, all_ in groups for place, one in enumerate(all_)}


def write_onnx(cell: Cell, program: Inference, *, file: Path) -> Settings:
    # Imported here: it takes seconds, and no other cell needs it.
    jax2onnx = importlib.import_module("jax2onnx")

    def forward(*inputs: Array) -> Array:
        placed = tuple(map(channels_last, inputs)) if cell.model == "cnn" else inputs
        return program.function(program.state, placed)

    # With 64-bit types for as long as it is traced: else the file's ids would be int32.
    with jax.enable_x64(cell.model == "transformer"):
        written = jax2onnx.to_onnx(
            forward,
            onnx_inputs(cell),
            input_names=INPUTS[cell.model],
            output_names=["logits"],
        )
    # jax2onnx 0.17.1 moves its transposes around and leaves the old shapes in the file: ONNX
    # Runtime warns of each, and refuses those that have another rank. It infers them anyway.
    del written.graph.value_info[:]
    large = written.ByteSize() > ONNX_FILE_LIMIT
    onnx.save(written, file, save_as_external_data=large)
    return {
        "file": file.name,
        "exporter": "jax2onnx.to_onnx",
        "opset": next(entry.version for entry in written.opset_import if not entry.domain),
        "ir_version": written.ir_version,
    }


def onnx_inputs(cell: Cell) -> list[Any]:
    """The contract's inputs: images as NCHW, and ids and mask as int64."""
    dims = cell.dims
    if isinstance(dims, EncoderDims):
        return [jax.ShapeDtypeStruct(("batch", dims.sequence), jnp.dtype("int64"))] * 2
    return [("batch", dims.channels, dims.image, dims.image)]


def read(path: Path) -> tuple[Exported, State]:
    """The exported function in ``path`` and its weights; ValueError where they do not fit.

    A flatbuffer around StableHLO and numpy's arrays: there is nothing in them to unpickle.
    struct.error, zipfile.BadZipFile and others where a file is not whole.
    """
    exported = jax.export.deserialize(bytearray((path / FILES["native"]).read_bytes()))
    with np.load(path / WEIGHTS, allow_pickle=False) as file:
        found = {key: jnp.array(file[key]) for key in file}
    (state, _), _ = exported.in_tree.unflatten(exported.in_avals)
    if kinds(found) != kinds(name(state)):
        raise ValueError(f"{WEIGHTS} does not hold the arrays that {FILES['native']} takes")
    return exported, jax.tree.unflatten(jax.tree.structure(state), map(found.get, name(state)))


def kinds(arrays: dict[str, Any]) -> dict[str, Any]:
    return {key: (value.shape, value.dtype) for key, value in arrays.items()}
