"""One results file made of several: whole or not at all, and the same every time."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.errors import UsageError
from bench.rows import manifest, reading, schema
from bench.rows.files import RowError
from bench.rows.places import manifest_path, steps_path
from bench.rows.schema import Row

Key = tuple[str, int]


def raw_times(path: Path) -> dict[Key, bytes]:
    """The compressed times of each row of the results file ``path``, as they stand beside it."""
    beside = steps_path(path)
    held = beside.read_bytes() if beside.exists() else b""
    return {
        (times["cell_id"], times["repeat"]): held[start:end]
        for start, end, times in reading.members(beside, held)
    }


def write(path: Path, rows: Sequence[Row], times: Mapping[Key, bytes]) -> None:
    """In place of what is there. UsageError where the disk does not take it; RowError for a row
    that nobody could read.
    """
    for row in rows:
        if problems := schema.contradictions(row):
            raise RowError(problems)
    lines = [schema.HEADER]
    lines += [schema.line(schema.text(row).values()) for row in rows]
    raw = [times.get((row["cell_id"], row["repeat"])) for row in rows]
    plain = [None, *(gzip.decompress(one) if one else None for one in raw)]
    vouched = manifest.content(zip(lines, plain, strict=True))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Times first: there may be some without a row, and never a row without its times.
        _replace(steps_path(path), filter(None, raw))
        _replace(manifest_path(path), [vouched])
        _replace(path, lines)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {reading.words(error)}") from error


def _replace(path: Path, pieces: Iterable[bytes]) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
