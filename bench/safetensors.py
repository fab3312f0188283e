"""Read safetensors files with numpy alone.

Worker half. The safetensors package is not used here because it would have to be installed in
every backend's environment, brought ones included; the format is one JSON header and raw bytes
(https://huggingface.co/docs/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

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


def read(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a file, by name, as read-only views of one memory map."""
    try:
        raw = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read: {error}") from error
    start, header = _header(path, raw)
    return {
        name: _tensor(path, name, entry, raw[start:])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _header(path: Path, raw: np.ndarray) -> tuple[int, dict[str, Any]]:
    size = int.from_bytes(raw[:8].tobytes(), "little")
    if len(raw) < 8 or size > min(HEADER_LIMIT, len(raw) - 8):
        raise WeightsError(f"{path}: not a safetensors file (its header does not fit into it)")
    try:
        header = json.loads(raw[8 : 8 + size].tobytes())
    except ValueError as error:
        raise WeightsError(f"{path}: not a safetensors file (header: {error})") from error
    if not isinstance(header, dict):
        raise WeightsError(f"{path}: not a safetensors file (its header is not an object)")
    return 8 + size, header


def _tensor(path: Path, name: str, entry: Any, data: np.ndarray) -> np.ndarray:
    try:
        kind, shape = str(entry["dtype"]), [int(n) for n in entry["shape"]]
        start, end = (int(offset) for offset in entry["data_offsets"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: tensor {name!r} has no valid entry ({error!r})") from error
    if kind not in DTYPES:
        raise WeightsError(f"{path}: tensor {name!r} has dtype {kind}; convert it to F32 first")
    dtype = np.dtype(DTYPES[kind])
    if min(shape, default=0) < 0 or end - start != math.prod(shape) * dtype.itemsize:
        raise WeightsError(f"{path}: tensor {name!r} does not have the size that its shape needs")
    if not 0 <= start <= end <= len(data):
        raise WeightsError(f"{path}: tensor {name!r} lies outside the file (is it cut short?)")
    piece = np.frombuffer(data, dtype=np.uint8, count=end - start, offset=start)
    if start % dtype.itemsize:
        piece = piece.copy()  # numpy cannot view unaligned bytes on every machine
    return piece.view(dtype).reshape(shape)
