"""Read safetensors files with numpy alone.

Worker half. The safetensors package is not used here because it would have to be installed in
every backend's environment, brought ones included; the format is one JSON header and raw bytes
(https://huggingface.co/docs/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.contract import BenchError

HEADER_LIMIT = 100_000_000  # bytes; the limit that the reference implementation sets
DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


class WeightsError(BenchError, ValueError):
    """The file is not a safetensors file that can be read; one line that says why."""


class Place(NamedTuple):
    """Where a tensor lies; ``start`` and ``end`` count bytes from the end of the header."""

    dtype: np.dtype[Any]
    shape: list[int]
    start: int
    end: int


def read(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a file, by name, as read-only views of one memory map."""
    try:
        raw = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read: {error}") from error
    start, header = _header(path, raw)
    data = raw[start:]
    places = {
        name: _place(path, name, entry, len(data))
        for name, entry in header.items()
        if name != "__metadata__"
    }
    _check_cover(path, list(places.values()), len(data))
    return {name: _tensor(path, name, place, data) for name, place in places.items()}


def _header(path: Path, raw: np.ndarray) -> tuple[int, dict[str, Any]]:
    size = int.from_bytes(raw[:8].tobytes(), "little")
    if len(raw) < 8 or size > min(HEADER_LIMIT, len(raw) - 8):
        raise WeightsError(f"{path}: not a safetensors file (its header does not fit into it)")
    try:
        header = json.loads(raw[8 : 8 + size].tobytes())
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not a safetensors file (header: {error})") from error
    if not isinstance(header, dict):
        raise WeightsError(f"{path}: not a safetensors file (its header is not an object)")
    return 8 + size, header


def _place(path: Path, name: str, entry: Any, length: int) -> Place:
    try:
        kind, shape = entry["dtype"], _counts(entry["shape"])
        start, end = _counts(entry["data_offsets"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: tensor {name!r} has no valid entry ({error!r})") from error
    if not isinstance(kind, str) or kind not in DTYPES:
        raise WeightsError(f"{path}: tensor {name!r} has dtype {kind!r}; convert it to F32 first")
    dtype = np.dtype(DTYPES[kind])
    if end - start != math.prod(shape) * dtype.itemsize:
        raise WeightsError(f"{path}: tensor {name!r} does not have the size that its shape needs")
    if end > length:
        raise WeightsError(f"{path}: tensor {name!r} lies outside the file (is it cut short?)")
    return Place(dtype, shape, start, end)


def _counts(values: Any) -> list[int]:
    """A JSON list of whole numbers from 0 on, and nothing that Python would make into one."""
    if not isinstance(values, list) or not all(type(n) is int and n >= 0 for n in values):
        raise ValueError("shape and data_offsets must be lists of whole numbers")
    return values


def _check_cover(path: Path, places: list[Place], length: int) -> None:
    """The format's own rule: the tensors fill the data, without gaps, and share nothing."""
    reached = 0
    for start, end in sorted(place[2:] for place in places):
        if start != reached:
            place = min(start, reached)
            raise WeightsError(f"{path}: tensors overlap or leave a gap at byte {place}")
        reached = end
    if reached != length:
        raise WeightsError(f"{path}: {length - reached} bytes after its tensors belong to none")


def _tensor(path: Path, name: str, place: Place, data: np.ndarray) -> np.ndarray:
    count = place.end - place.start
    array = np.frombuffer(data, np.uint8, count=count, offset=place.start).view(place.dtype)
    if not array.flags.aligned:
        array = array.copy()  # frameworks take aligned memory only
        array.flags.writeable = False
    try:
        return array.reshape(place.shape)
    except (ValueError, OverflowError) as error:
        raise WeightsError(f"{path}: tensor {name!r} has an impossible shape ({error})") from error
