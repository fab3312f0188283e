"""The two sides of a comparison: which rows, matched by which key.

Between files the key is the cell's id. Within them it is the id without the axis that is compared
along: ``--between backend`` matches torch's cells with jax's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.compare import frame
from bench.errors import UsageError, unknown

# Where a value stands in a cell's id. A backend's usual mode is its own, so the two go together.
_PLACES = {"backend": (0, 6), "device": (4,), "precision": (5,), "mode": (6,), "batch": (8,)}
_COLUMNS = ("cluster", "host", "backend_version", "env_lock", "git_rev", "run_id")
AXES = (*_PLACES, *_COLUMNS)


@dataclass(frozen=True)
class Side:
    """Rows under a name; their column ``key`` is what they are matched by."""

    name: str
    rows: pd.DataFrame


def of_paths(paths: Sequence[Path]) -> list[Side]:
    """A side a path, matched by the cell's id; the first is the base."""
    sides = []
    for path, name in zip(paths, _names(paths), strict=True):
        rows = frame.read([path])
        rows["key"] = rows["cell_id"]
        sides.append(Side(name, rows))
    return sides


def _names(paths: Sequence[Path]) -> list[str]:
    """A path's last part; the whole path where two have the same."""
    short = [path.name.removesuffix(".csv") or str(path) for path in paths]
    return [
        str(path) if short.count(name) > 1 else name
        for path, name in zip(paths, short, strict=True)
    ]


def between(axis: str, paths: Sequence[Path], *, base: str | None) -> list[Side]:
    """Sides within files, one a value of ``axis``; the first, or the one named ``base``, first."""
    if axis not in AXES:
        raise unknown("--between axis", axis, AXES)
    rows = frame.read(paths)
    labels = _labels(rows, axis)
    names = [str(name) for name in labels.unique()]
    if base is not None and base not in names:
        raise UsageError(f"--base {base!r} is not there: the rows have {', '.join(names)}")
    if len(names) < 2:
        raise UsageError(f"--between {axis}: all rows have the same, {names[0]!r}")
    first = base if base is not None else names[0]
    rows["key"] = _keys(rows, axis)
    order = [first, *(name for name in names if name != first)]
    return [Side(name, rows[labels == name].reset_index(drop=True)) for name in order]


def values(axis: str, paths: Sequence[Path]) -> list[str]:
    """What the rows have on ``axis``."""
    return [str(name) for name in _labels(frame.read(paths), axis).unique()]


def key(cell_id: str, axis: str) -> str:
    """The id without the axis: what a cell is matched by."""
    return _without(cell_id, _PLACES.get(axis, ()))


def _labels(rows: pd.DataFrame, axis: str) -> pd.Series:
    if axis in _COLUMNS:
        return rows[axis].astype(str)
    texts = {one: _part(one, _PLACES[axis]) for one in rows["cell_id"].cat.categories}
    return rows["cell_id"].astype(str).map(texts)


def _part(cell_id: str, places: Sequence[int]) -> str:
    parts = cell_id.split("/")
    return " ".join(parts[place] for place in places if place < len(parts))


def _keys(rows: pd.DataFrame, axis: str) -> pd.Series:
    texts = {one: key(one, axis) for one in rows["cell_id"].cat.categories}
    return rows["cell_id"].astype(str).map(texts).astype("category")


def _without(cell_id: str, places: Sequence[int]) -> str:
    return "/".join(
        "*" if place in places else part for place, part in enumerate(cell_id.split("/"))
    )
