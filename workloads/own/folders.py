"""Weights in a folder: ``model.safetensors`` and ``config.json``, as Hugging Face's libraries save
them. What is understood: BERT (bert.py) and residual networks (resnet.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import safetensors
from bench.dims import Dims
from bench.errors import UsageError
from workloads import Own, weights
from workloads.own import bert, files, resnet
from workloads.weights import Arrays, Shapes

CONFIG, TENSORS = "config.json", "model.safetensors"
FLOATS = ("float16", "float32", "float64")


class Layout(NamedTuple):
    """dims: what a configuration and the shapes of the tensors say of the dims; ValueError in words
    where they are another model's. canonical: a tensor's name in ``workloads.weights``; None for
    one that has no part in the function.
    """

    dims: Callable[[Mapping[str, Any], Shapes], dict[str, Any]]
    canonical: Callable[[str], str | None]


LAYOUTS = {
    "transformer": Layout(bert.dims, bert.canonical),
    "cnn": Layout(resnet.dims, resnet.canonical),
}


def source(folder: Path, model: str) -> Own:
    """The tensors alone are hashed: what the configuration says is in the dims."""
    return files.source("folder", {"tensors": str(folder / TENSORS)}, {"layout": model})


def dims(folder: Path, model: str) -> dict[str, Any]:
    """As far as the folder says them, by the keys of ``[size.NAME.dims]``."""
    layout = LAYOUTS[model]
    found = _named(folder / TENSORS, layout)
    try:
        return layout.dims(_config(folder), {name: one.shape for name, one in found.items()})
    except ValueError as error:
        raise UsageError(f"{folder}: {error}") from error


def tensors(own: Own, shape: Dims, *, name: str) -> Arrays:
    """All of the model's, float32. Where there is no classifier, a seeded one. name: model and
    size.
    """
    path, model = Path(own.paths["tensors"]), own.options["layout"]
    expected, found = weights.shapes(shape), _named(path, LAYOUTS[model])
    if not set(weights.HEADS[model]) & set(found):
        start = weights.seeded(shape, name=name)
        found |= {key: start[key] for key in weights.HEADS[model]}
    _compare(path, found, expected)
    return {key: _float32(path, key, found[key]) for key in expected}


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / CONFIG} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{folder / CONFIG} is not a JSON object")
    return found


def _named(path: Path, layout: Layout) -> Arrays:
    """Canonical name -> tensor, as it lies in the file."""
    if not path.is_file():
        raise UsageError(_missing(path))
    found: Arrays = {}
    for name, tensor in safetensors.read(path).items():
        key = layout.canonical(name)
        if key in found:
            raise UsageError(f"{path}: {name} is there twice, with and without a prefix")
        if key is not None:
            found[key] = tensor
    return found


def _missing(path: Path) -> str:
    """What is there instead, and the mend."""
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder}: the paths of a pilot file are relative to it"
    if (folder / f"{TENSORS}.index.json").exists():
        return f"{folder} has its weights in shards: save them as one file (max_shard_size)"
    if pickles := [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]:
        return f"{pickles[0]} is a pickle, which may run code: save it as {TENSORS}"
    return f"there is no {TENSORS} in {folder}"


def _compare(path: Path, found: Arrays, expected: Shapes) -> None:
    """UsageError with the first tensor that is missing, too much or of another shape."""
    if missing := [key for key in expected if key not in found]:
        shape = expected[missing[0]]
        raise UsageError(f"{path} has no {missing[0]} of shape {shape}{_more(missing)}")
    if extra := [key for key in found if key not in expected]:
        shape = found[extra[0]].shape
        raise UsageError(
            f"{path} has {extra[0]} of shape {shape}{_more(extra)}, for which there is no place "
            "in this model: compare the dims"
        )
    for key, shape in expected.items():
        if found[key].shape != shape:
            raise UsageError(f"{path}: {key} has the shape {found[key].shape}, not {shape}")


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _float32(path: Path, key: str, tensor: np.ndarray) -> np.ndarray:
    if tensor.dtype.name not in FLOATS:
        raise UsageError(f"{path}: {key} is {tensor.dtype.name}: save it as float32")
    made = tensor.astype(np.float32)
    if not np.isfinite(made).all():
        raise UsageError(f"{path}: {key} has values that are not finite")
    return made
