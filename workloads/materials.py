"""What a program starts from: weights and data of a spec, made once, into the cache."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from pathlib import Path

from bench import safetensors
from bench.dims import CnnDims, DecoderDims, Dims, EncoderDims
from bench.errors import UsageError
from workloads import (
    NOISE,
    SizeSpec,
    cache,
    digits,
    packages,
    reviews,
    synthetic,
    tensors,
    weights,
)

VERSION = 2
"""Raise it when the files come out differently; what older versions made is then not used."""

WEIGHTS, EXPORT, DATA = "weights.safetensors", "export.safetensors", "data.safetensors"


def materials(model: str, size: str, spec: SizeSpec) -> Path:
    """The folder with the initial weights and the data; needs no trace."""
    fill = functools.partial(_fill, name=f"{model}-{size}", spec=spec)
    return cache.made(_folder(model, size, spec), fill)


def exported_weights(made: Path, head: Path | None) -> Path:
    """The weights to export: the initial ones with a trained head.

    head: None where there is nothing to learn; the initial ones are exported as they are.
    """
    if head is None:
        return made / WEIGHTS
    try:
        digest = cache.sha256(head)[:12]
    except OSError as error:
        raise UsageError(f"no trained head {head.name}: `make reference` makes it") from error

    def fill(folder: Path) -> None:
        given = {**safetensors.read(made / WEIGHTS), **safetensors.read(head)}
        tensors.save(folder / EXPORT, given)
        cache.seal(folder)

    return cache.made(made.with_name(f"{made.name}-head-{digest}"), fill) / EXPORT


def _folder(model: str, size: str, spec: SizeSpec) -> Path:
    what = [dataclasses.asdict(spec.dims), spec.data, spec.weights]
    facts = [VERSION, model, size, *what, packages.lock_hash()]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    return cache.root() / "prepared" / f"{model}-{size}-{key}"


def _fill(folder: Path, *, name: str, spec: SizeSpec) -> None:
    tensors.save(folder / WEIGHTS, _weights(spec, name=name))
    tensors.save(folder / DATA, _data(spec))
    cache.seal(folder)


def _weights(spec: SizeSpec, *, name: str) -> weights.Arrays:
    if spec.weights == "seeded":
        return weights.seeded(spec.dims, name=name)
    return weights.pretrained(packages.fetch(), _encoder(spec.dims, spec.weights), name=name)


def _data(spec: SizeSpec) -> weights.Arrays:
    dims = spec.dims
    if spec.data == NOISE:
        return synthetic.noise(dims)
    if spec.data == "digits":
        if not isinstance(dims, CnnDims):
            raise UsageError("data digits are images: they are for the model cnn")
        return digits.tensors(packages.fetch(), image=dims.image, channels=dims.channels)
    if isinstance(dims, DecoderDims):
        if spec.data == "sentences":
            return synthetic.text(dims)
        return reviews.packed(packages.fetch(), sequence=dims.sequence)
    encoder = _encoder(dims, spec.data)
    if spec.data == "sentences":
        return synthetic.tensors(encoder)
    return reviews.tensors(packages.fetch(), sequence=encoder.sequence)


def _encoder(dims: Dims, what: str) -> EncoderDims:
    if not isinstance(dims, EncoderDims):
        raise UsageError(f"{what} is for the model transformer")
    return dims
