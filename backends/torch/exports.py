"""Torch's files: ONNX by the dynamo exporter and torch.export's own archive."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from backends.torch.programs import Inference, autocast
from bench.contract import BenchError, Cell, Settings, inputs_of

FILES = {"onnx": "model.onnx", "native": "model.pt2"}
ONNX_FILE_LIMIT = 1_900_000_000  # bytes; protobuf cannot hold 2 GiB, so weights go beside it

# All that torch.export.save writes for a model of plain tensors. Anything else in an archive
# (shared libraries, pickled constants, the layouts of older versions) is code that loading runs.
ARCHIVE = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)"
    r"|models/model\.json|data/sample_inputs/model\.pt"
    r"|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
)


class UnsafeFileError(BenchError):
    """The archive holds something that loading would execute."""


class Autocast(nn.Module):
    """Keeps mixed precision inside the exported graph, for a file knows no context manager."""

    def __init__(self, cell: Cell, model: nn.Module) -> None:
        super().__init__()
        self.cell = cell
        self.model = model

    def forward(self, *inputs: Tensor) -> Tensor:
        with autocast(self.cell):
            return self.model(*inputs)


def write(cell: Cell, program: Inference, path: Path) -> Settings:
    """Write the program's model below ``path``, its batch dimension dynamic."""
    path.mkdir(parents=True, exist_ok=True)
    # Two samples, because an example of one would fix the batch at one.
    example = tuple(torch.cat([x, x])[:2].contiguous() for x in program.inputs[0])
    batch = Dim("batch", min=1)
    file = path / FILES[cell.format]
    if cell.format == "onnx":
        return write_onnx(cell, program.model, example, file=file, batch=batch)
    model: nn.Module = program.model
    shapes: tuple[object, ...] = tuple({0: batch} for _ in example)
    if cell.precision == "bf16":
        model, shapes = Autocast(cell, model), (shapes,)
    torch.export.save(torch.export.export(model, example, dynamic_shapes=shapes), file)
    return {"file": file.name, "exporter": "torch.export.save"}


def write_onnx(
    cell: Cell, model: nn.Module, example: tuple[Tensor, ...], *, file: Path, batch: Dim
) -> Settings:
    names = inputs_of(cell.model, len(example))
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    torch.onnx.export(
        model,
        example,
        file,
        input_names=names,
        output_names=["logits"],
        dynamic_shapes=tuple({0: batch} for _ in example),
        dynamo=True,
        external_data=size > ONNX_FILE_LIMIT,
        verbose=False,
    )
    # Read back: the exporter may take another opset than the one that is asked for.
    written = onnx.load(file, load_external_data=False)
    return {
        "file": file.name,
        "exporter": "torch.onnx.export(dynamo=True)",
        "opset": next(entry.version for entry in written.opset_import if not entry.domain),
        "ir_version": written.ir_version,
    }


def read(path: Path) -> ExportedProgram:
    """The exported program in ``path``; UnsafeFileError before anything in it is executed."""
    file = path / FILES["native"]
    refuse_code(file)
    return torch.export.load(file)


def refuse_code(file: Path) -> None:
    """Raise for an archive with pickles or libraries; torch.export.load would run them."""
    try:
        with zipfile.ZipFile(file) as archive:
            for name, inner in members(archive):
                if not ARCHIVE.fullmatch(inner):
                    raise UnsafeFileError(f"{file.name} holds {inner!r}: not plain tensors")
                if inner.endswith("_config.json"):
                    refuse_pickles(file.name, archive.read(name))
                elif inner.startswith("data/sample_inputs/"):
                    with archive.open(name) as inputs:
                        torch.load(inputs, weights_only=True)
    except zipfile.BadZipFile as error:
        raise UnsafeFileError(f"{file.name} is not a torch.export archive: {error}") from error
    except pickle.UnpicklingError as error:
        raise UnsafeFileError(f"{file.name} has inputs that are not plain tensors") from error


def members(archive: zipfile.ZipFile) -> Iterator[tuple[str, str]]:
    """Each entry, and its name below the archive's one top folder."""
    for name in archive.namelist():
        yield name, name.partition("/")[2]


def refuse_pickles(file: str, config: bytes) -> None:
    for tensor, entry in json.loads(config)["config"].items():
        if entry.get("use_pickle") or not re.fullmatch(r"(weight|tensor)_\d+", entry["path_name"]):
            raise UnsafeFileError(f"{file}: {tensor!r} is pickled, which can hide code")
