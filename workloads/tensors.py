"""Write safetensors files whose bytes depend on the tensors alone.

The committed traces hold the sha256 of the prepared files, so the order of tensors and the
spelling of the header must not change with the version of a library.
Format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

DTYPES = {"float32": "F32", "float64": "F64", "int64": "I64"}


def save(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write the tensors, the widest type first so that each is aligned, then by name.

    Raises KeyError for a type that these files have no use for.
    """
    # '<': the format is little-endian whatever the machine is.
    arrays = {
        k: np.ascontiguousarray(v, dtype=v.dtype.newbyteorder("<")) for k, v in tensors.items()
    }
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    header: dict[str, Any] = {}
    start = 0
    for name in order:
        array = arrays[name]
        header[name] = {
            "dtype": DTYPES[array.dtype.name],
            "shape": list(tensors[name].shape),  # numpy makes a number a row of one
            "data_offsets": [start, start + array.nbytes],
        }
        start += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            file.write(arrays[name].data)
