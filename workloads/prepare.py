"""Make what the workers read: weights, data and the weights to export, once, into the cache.

``python -m workloads.prepare MODEL SIZE`` prints one JSON line with the paths. The command
works in a process of its own, so that the one that measures stays small. What is made is
compared with the sha256 that the committed trace holds: parity figures are only worth
something for the very files that they were made with.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import workloads
from bench import safetensors
from bench.contract import BenchError, CnnDims, Dims
from bench.errors import EXIT_USAGE, UsageError
from workloads import (
    FOLDER,
    MADE_UP,
    cache,
    catalogue,
    digits,
    packages,
    reviews,
    synthetic,
    tensors,
    weights,
)

VERSION = 1
"""Raise it when the files come out differently; what older versions made is then not used."""

WEIGHTS, EXPORT, DATA = "weights.safetensors", "export.safetensors", "data.safetensors"


@dataclass(frozen=True)
class Prepared:
    """Files of one model and size.

    weights: initial weights. export_weights: the same with a trained head. data: train.* and
    test.* tensors. trace: the committed reference figures.
    """

    weights: Path
    export_weights: Path
    data: Path
    trace: Path


def trace_path(model: str, size: str) -> Path:
    return FOLDER / "traces" / f"{model}-{size}.json"


def head_path(model: str, size: str) -> Path:
    return FOLDER / "heads" / f"{model}-{size}.safetensors"


def ensure(model: str, size: str) -> Prepared:
    """The files of a model and size, made if they are not in the cache yet.

    UsageError where something is missing that the user can bring, and where a made file is not
    the one that the committed trace belongs to.
    """
    trace = trace_path(model, size)
    made, export = materials(model, size), export_folder(model, size)
    try:
        expected = json.loads(trace.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no reference trace for {model} {size} ({error}): `make reference` makes it"
        ) from error
    _compare(made / WEIGHTS, expected["weights_sha256"])
    _compare(made / DATA, expected["data_sha256"])
    exported = WEIGHTS if size in MADE_UP else EXPORT
    _compare(export / exported, expected["export"]["weights_sha256"])
    return Prepared(made / WEIGHTS, export / exported, made / DATA, trace)


def materials(model: str, size: str) -> Path:
    """The folder with the initial weights and the data; needs no trace."""
    dims = catalogue.size(model, model, size).dims
    fill = functools.partial(_fill, model=model, size=size, dims=dims)
    return cache.made(_folder(model, size, dims), fill)


def export_folder(model: str, size: str) -> Path:
    """The folder with the export weights: the initial ones with the committed head.

    Where there is nothing to learn the initial ones are exported as they are.
    """
    if size in MADE_UP:
        return materials(model, size)
    head = head_path(model, size)
    try:
        digest = cache.sha256(head)[:12]
    except OSError as error:
        raise UsageError(
            f"no trained head for {model} {size}: `make reference` makes it"
        ) from error
    made = materials(model, size)

    def fill(folder: Path) -> None:
        given = {**safetensors.read(made / WEIGHTS), **safetensors.read(head)}
        tensors.save(folder / EXPORT, given)
        cache.seal(folder)

    return cache.made(made.with_name(f"{made.name}-head-{digest}"), fill)


def _folder(model: str, size: str, dims: Dims) -> Path:
    facts = [VERSION, model, size, dataclasses.asdict(dims), packages.lock_hash()]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    return cache.root() / "prepared" / f"{model}-{size}-{key}"


def _fill(folder: Path, *, model: str, size: str, dims: Dims) -> None:
    name = f"{model}-{size}"
    if size in MADE_UP:
        made = weights.seeded(dims, name=name)
        data = synthetic.noise(dims)
    elif isinstance(dims, CnnDims):
        made = weights.seeded(dims, name=name)
        data = digits.tensors(packages.fetch(), image=dims.image, channels=dims.channels)
    elif size == "tiny":
        made, data = weights.seeded(dims, name=name), synthetic.tensors(dims)
    else:
        source = packages.fetch()
        made = weights.pretrained(source, dims, name=name)
        data = reviews.tensors(source, sequence=dims.sequence)
    tensors.save(folder / WEIGHTS, made)
    tensors.save(folder / DATA, data)
    cache.seal(folder)


def _compare(path: Path, expected: str) -> None:
    """Refuse a file that is not the trace's."""
    found = cache.sums(path.parent).get(path.name)
    if found != expected:
        raise UsageError(
            f"{path} (sha256 {str(found)[:12]}) is not the file that the reference trace was made "
            f"with ({expected[:12]}): remove {path.parent} and run again; if it stays so, "
            "`make reference` makes the traces anew"
        )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workloads.prepare", description=__doc__)
    parser.add_argument("model", choices=tuple(weights.HEADS))
    parser.add_argument("size", choices=workloads.SIZES)
    parser.add_argument(
        "--materials",
        action="store_true",
        help="only what `make reference` starts from: weights and data, without head and trace",
    )
    asked = parser.parse_args(argv)
    try:
        print(json.dumps(_paths(asked.model, asked.size, materials_only=asked.materials)))
    except BenchError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    return 0


def _paths(model: str, size: str, *, materials_only: bool) -> Mapping[str, Any]:
    if materials_only:
        made = materials(model, size)
        return {"weights": str(made / WEIGHTS), "data": str(made / DATA)}
    return {key: str(path) for key, path in dataclasses.asdict(ensure(model, size)).items()}


if __name__ == "__main__":
    sys.exit(main())
