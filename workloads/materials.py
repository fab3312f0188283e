"""What a program starts from: weights and data of a spec, made once, into the cache."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from pathlib import Path

from bench import safetensors
from bench.dims import CnnDims, DecoderDims, Dims, EncoderDims, ours
from bench.errors import UsageError
from workloads import (
    NOISE,
    Own,
    SizeSpec,
    cache,
    digits,
    facts,
    packages,
    reviews,
    synthetic,
    tensors,
    weights,
)
from workloads.own import files, folders, images, texts, tokens
from workloads.own.rows import LeftOut

VERSION = 2
"""Raise it when the files come out differently; what older versions made is then not used."""

WEIGHTS, EXPORT, DATA = "weights.safetensors", "export.safetensors", "data.safetensors"
LEFT_OUT = "left-out.txt"
"""Beside the user's own data: one line of what could not be used, if anything."""


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
    what = [dataclasses.asdict(spec.dims), facts(spec.data), facts(spec.weights)]
    known = [VERSION, model, size, *what, packages.lock_hash()]
    key = hashlib.sha256(json.dumps(known).encode()).hexdigest()[:12]
    return cache.root() / "prepared" / f"{model}-{size}-{key}"


def _fill(folder: Path, *, name: str, spec: SizeSpec) -> None:
    tensors.save(folder / WEIGHTS, _weights(spec, name=name))
    data, left_out = _data(spec)
    tensors.save(folder / DATA, data)
    if left_out and left_out.rows:
        said = f"{left_out.what}: {left_out.line}"
        (folder / LEFT_OUT).write_text(said, encoding="utf-8")
    cache.seal(folder)


def _weights(spec: SizeSpec, *, name: str) -> weights.Arrays:
    dims = ours(spec.dims)
    if isinstance(spec.weights, Own):
        files.check(spec.weights)
        return folders.tensors(spec.weights, dims, name=name)
    if spec.weights == "seeded":
        return weights.seeded(dims, name=name)
    return weights.pretrained(packages.fetch(), _encoder(dims, spec.weights), name=name)


def _data(spec: SizeSpec) -> tuple[weights.Arrays, LeftOut | None]:
    """And what of the user's own cannot be used."""
    if isinstance(spec.data, Own):
        files.check(spec.data)
        return _own_data(spec.data, ours(spec.dims))
    return _reference_data(spec.data, ours(spec.dims)), None


def _own_data(own: Own, dims: Dims) -> tuple[weights.Arrays, LeftOut]:
    if own.kind == "tokens":
        return tokens.tensors(own, _decoder(dims, "a file of tokens"))
    if own.kind == "text":
        return texts.tensors(own, _encoder(dims, "a table with sentences"))
    read = images.of_arrays if own.kind == "arrays" else images.of_folder
    return read(own, _cnn(dims, own.kind))


def _reference_data(name: str, dims: Dims) -> weights.Arrays:
    if name == NOISE:
        return synthetic.noise(dims)
    if name == "digits":
        cnn = _cnn(dims, name)
        return digits.tensors(packages.fetch(), image=cnn.image, channels=cnn.channels)
    if isinstance(dims, DecoderDims):
        if name == "sentences":
            return synthetic.text(dims)
        return reviews.packed(packages.fetch(), sequence=dims.sequence)
    encoder = _encoder(dims, name)
    if name == "sentences":
        return synthetic.tensors(encoder)
    return reviews.tensors(packages.fetch(), sequence=encoder.sequence)


def _cnn(dims: Dims, what: str) -> CnnDims:
    if not isinstance(dims, CnnDims):
        raise UsageError(f"data {what} are images: they are for the model cnn")
    return dims


def _decoder(dims: Dims, what: str) -> DecoderDims:
    if not isinstance(dims, DecoderDims):
        raise UsageError(f"{what} is for the models decoder and lora")
    return dims


def _encoder(dims: Dims, what: str) -> EncoderDims:
    if not isinstance(dims, EncoderDims):
        raise UsageError(f"{what} is for the model transformer")
    return dims
