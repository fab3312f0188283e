"""What a model of the user's is fed with: shapes from its inputs, samples made or taken.

Worker half, and the parent's check of what the user gave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.contract import BenchError

Feed = dict[str, np.ndarray]
"""One request's inputs, by name."""

DISTINCT = 8  # requests that differ, where samples are made
MOST_TAKEN = 64  # batches that are taken of a file of samples


class Input(NamedTuple):
    """As the file declares it. dtype: NumPy's name. shape: a size, or the name of one left open."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    @property
    def batched(self) -> bool:
        """Its first dimension is left open: that is the batch."""
        return bool(self.shape) and isinstance(self.shape[0], str)


class FeedError(BenchError):
    """The inputs cannot be fed; one line that names the mend."""


def shape(one: Input, *, batch: int, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """All dimensions as numbers. FeedError for one that nobody has given."""
    found = []
    for axis, size in enumerate(one.shape):
        if isinstance(size, int):
            found.append(size)
        elif size in sizes:
            found.append(sizes[size])
        elif axis == 0:
            found.append(batch)
        else:
            raise FeedError(
                f"input {one.name!r} leaves its dimension {size!r} open: give it, such as"
                f" --dim {size}=128"
            )
    return tuple(found)


def check(inputs: Sequence[Input], *, batch: int, sizes: Mapping[str, int]) -> None:
    """FeedError where no request of this batch can be made."""
    open_ = {size for one in inputs for size in one.shape if isinstance(size, str)}
    if strange := sorted(set(sizes) - open_):
        known = ", ".join(sorted(open_)) or "none"
        raise FeedError(f"--dim {strange[0]}: the model leaves {known} open")
    for one in inputs:
        shape(one, batch=batch, sizes=sizes)
        if np.dtype(one.dtype).kind not in "fiub":
            raise FeedError(f"input {one.name!r} is of {one.dtype}: give samples with --data")


def fixed_batch(inputs: Sequence[Input]) -> int | None:
    """The one batch that a file without an open first dimension takes."""
    sizes = [one.shape[0] for one in inputs if one.shape]
    if any(isinstance(size, str) for size in sizes) or not sizes:
        return None
    return int(sizes[0])


def made(inputs: Sequence[Input], *, batch: int, sizes: Mapping[str, int]) -> list[Feed]:
    """Requests of noise: standard normal numbers; integers and booleans of 0 and 1, which are
    valid in a mask and, as indices, in any table.
    """
    draw = np.random.default_rng(0)

    def values(one: Input) -> np.ndarray:
        wanted = shape(one, batch=batch, sizes=sizes)
        if np.dtype(one.dtype).kind == "f":
            return draw.standard_normal(wanted).astype(one.dtype)
        return draw.integers(0, 2, wanted).astype(one.dtype)

    return [{one.name: values(one) for one in inputs} for _ in range(DISTINCT)]


def taken(path: Path, inputs: Sequence[Input], *, batch: int) -> list[Feed]:
    """Requests from an NPZ file: an array for each input, its first axis the samples.

    Samples are taken in turn, from the start again where they do not fill the last batch. An input
    without an open first dimension is taken whole.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise FeedError(
            f"{path} is no NPZ file of arrays ({error}): numpy.savez makes one"
        ) from error
    if lacking := [one.name for one in inputs if one.name not in arrays]:
        raise FeedError(f"{path} has no array {lacking[0]!r}: it has {', '.join(arrays) or 'none'}")
    counts = {len(arrays[one.name]) for one in inputs if one.batched}
    if len(counts) > 1 or 0 in counts:
        raise FeedError(f"{path}: inputs have {sorted(counts)} samples; they need as many each")
    count = counts.pop() if counts else batch
    for one in inputs:
        _fits(path, one, arrays[one.name])
    starts = range(0, count, batch)[:MOST_TAKEN]
    return [
        {one.name: _part(arrays[one.name], one, start, batch) for one in inputs} for start in starts
    ]


def _fits(path: Path, one: Input, array: np.ndarray) -> None:
    sizes = zip(one.shape, array.shape)
    alike = all(isinstance(size, str) or size == given for size, given in sizes)
    if array.ndim != len(one.shape) or not alike or array.dtype != np.dtype(one.dtype):
        given = f"{array.dtype} {list(array.shape)}"
        raise FeedError(
            f"{path}: {one.name!r} is {given}, the model takes {one.dtype} {list(one.shape)}"
        )


def _part(array: np.ndarray, one: Input, start: int, batch: int) -> np.ndarray:
    if not one.batched:
        return np.asarray(array, order="C")  # of no dimension, too
    rows = np.arange(start, start + batch) % len(array)
    return np.ascontiguousarray(array[rows])
