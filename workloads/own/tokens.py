"""Tokens for the decoder: one long row of them, in a flat binary file or as NPY."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from bench.dims import DecoderDims
from bench.errors import UsageError
from workloads import Own
from workloads.own import rows
from workloads.own.rows import LeftOut, Sample
from workloads.packing import cut
from workloads.weights import Arrays

TYPES = ("uint16", "int32", "uint32", "int64")
MOST = 1 << 28
"""Tokens: prepared, with their labels, they are 16 bytes each, and two copies are in memory."""


def tensors(own: Own, dims: DecoderDims) -> tuple[Arrays, LeftOut]:
    """train.* and test.* of ids and label int64 [N, sequence], and what was left out.

    The row is cut into samples one behind the other; whether one is held out is decided by a hash
    of its tokens. A sample with a token that is none of the vocabulary is left out.
    """
    path = Path(own.paths["tokens"])
    stream = read(path, own.options["dtype"])
    if len(stream) > MOST:
        raise UsageError(f"{path} has {len(stream)} tokens, at most {MOST} are read: bring a part")
    ids, label = cut(stream, sequence=dims.sequence)
    left_out = LeftOut(path.name, total=len(ids))
    samples, kept = [], []
    for at, row in enumerate(ids):
        name = f"tokens {at * dims.sequence} to {(at + 1) * dims.sequence}"
        # The last label is the token behind the sample.
        seen = np.append(row, label[at, -1]).astype(np.int64)
        wrong = seen[(seen < 0) | (seen >= dims.vocab)]
        if len(wrong):
            left_out.add(name, f"token {wrong[0]} of a vocabulary of {dims.vocab}")
            continue
        kept.append(at)
        samples.append(Sample(name, "", hashlib.sha256(seen.astype("<i8").tobytes()).digest(), at))
    rows.usable(samples, left_out)
    arrays = {"ids": ids[kept].astype(np.int64), "label": label[kept].astype(np.int64)}
    return rows.split(samples, arrays, own), left_out


def read(path: Path, dtype: str) -> np.ndarray:
    """Whole numbers [N], memory-mapped. dtype: of a flat file, little-endian."""
    try:
        if path.suffix == ".npy":
            found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            kind = np.dtype(dtype).newbyteorder("<")
            if path.stat().st_size % kind.itemsize:
                raise UsageError(
                    f"{path} has {path.stat().st_size} bytes, no multiple of the {kind.itemsize} "
                    f"of {dtype}: set dtype to one of {', '.join(TYPES)}"
                )
            found = np.memmap(path, kind, mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise UsageError(
            f"{path} holds {found.dtype} {list(found.shape)}: one row of whole numbers is needed"
        )
    return found
