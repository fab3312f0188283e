"""Reading results files: version, columns, types and sense are checked.

Parent half. Nothing is unpickled or guessed. Whatever is wrong with a file becomes one UsageError
that names the file, the line, the column and the mend.
"""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import UsageError
from bench.rows import schema
from bench.rows.schema import Row

_MEND = "mend it or delete the line"
_CHUNK = 1 << 16
_LONGEST = 64 << 20
"""Bytes of one row's raw times: those of the longest rows are some kB."""

OTHERS = frozenset({"documents", "fairness", "calibration", "snapshots"})
"""The founding documents' tables; adapters against public models; workers slowed on purpose; facts
of a day."""


class Line(NamedTuple):
    """One row of a file, with its first and last physical line, counted from 1.

    It is more than one line only where an editor put a newline into a field.
    """

    first: int
    last: int
    row: Row


def read(*paths: Path) -> list[Row]:
    """The rows of results files, and of all ``*.csv`` files in and below folders.

    Columns that this version does not know are kept as text. A row that is in two files (a copy)
    counts once. Raises UsageError where anything is unreadable or contradicts itself.
    """
    rows: dict[tuple[Any, ...], tuple[Path, Row]] = {}
    for path in files(paths):
        for line in parse(path, bytes_of(path)):
            key = tuple(line.row[name] for name in ("run_id", "cell_id", "repeat"))
            other, row = rows.setdefault(key, (path, line.row))
            if row is not line.row and (other == path or row != line.row):
                raise UsageError(
                    f"{path}, line {line.first}: run_id, cell_id and repeat are those of another"
                    f" row of {other}; delete one of them"
                )
    return [row for _, row in rows.values()]


def parse(path: Path, data: bytes) -> list[Line]:
    """The rows in ``data``, the content of ``path``."""
    content = _text(path, data)
    if not content.endswith("\n"):
        raise UsageError(
            f"{path}, line {content.count(chr(10)) + 1} is cut short, as by a kill while it was"
            f" written: `bench run --resume {path}` goes on with the file, or delete the line"
        )
    records = _records(path, content)
    _, _, header = next(records)
    return [Line(first, last, _row(path, first, header, fields)) for first, last, fields in records]


def read_steps(path: Path) -> list[dict[str, Any]]:
    """The raw times beside a results file (``files.steps_path``), one dict a row."""
    data = bytes_of(path)
    found = list(members(path, data))
    if (found[-1][1] if found else 0) < len(data):
        raise UsageError(f"{path} is cut short: `bench run --resume` of its results file mends it")
    return [times for _, _, times in found]


def members(path: Path, data: bytes) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Start, end and content of each whole gzip member; a torn last one is left out."""
    start = 0
    while start < len(data):
        try:
            line, end = _member(data, start)
            if line is None:
                return
            times = _times(line)
        except (zlib.error, ValueError, RecursionError) as error:
            raise UsageError(
                f"{path} is damaged at byte {start} ({error}): move it away, the rows stay whole"
            ) from error
        yield start, end, times
        start = end


def _member(data: bytes, start: int) -> tuple[bytes | None, int]:
    """What the gzip member at ``start`` holds, None of a torn one, and where it ends."""
    unzip, end, parts = zlib.decompressobj(wbits=31), start, []
    while not unzip.eof and end < len(data):
        parts.append(unzip.decompress(data[end : end + _CHUNK], _LONGEST))
        # 2 MB of a file that means harm can hold 2 GB of spaces.
        if unzip.unconsumed_tail or sum(map(len, parts)) > _LONGEST:
            raise ValueError(f"more than {_LONGEST >> 20} MiB of one row")
        end = min(end + _CHUNK, len(data))
    return (b"".join(parts) if unzip.eof else None), end - len(unzip.unused_data)


def _times(line: bytes) -> dict[str, Any]:
    times = json.loads(line)
    if not isinstance(times, dict) or not {"cell_id", "repeat"} <= times.keys():
        raise ValueError("no cell_id and repeat in it")
    return times


def words(error: OSError | ValueError) -> str:
    """What the system says, without its number; ValueError is a path with a NUL in it."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def files(paths: tuple[Path, ...]) -> list[Path]:
    """Each file once, however often it was named, and every ``*.csv`` of a folder."""
    found: dict[Path, None] = {}
    for path in paths:
        try:
            inside = _inside(path) if path.is_dir() else [path]
            if not inside:
                raise UsageError(f"{path} is a folder without results (*.csv)")
            found |= dict.fromkeys(inside)
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read {path}: {words(error)}") from error
    return list(found)


def _inside(folder: Path) -> list[Path]:
    """Its results files; folders of ``results/`` that hold other tables are not looked into."""
    found = sorted(folder.rglob("*.csv"))
    return [path for path in found if OTHERS.isdisjoint(path.relative_to(folder).parts[:-1])]


def bytes_of(path: Path) -> bytes:
    """UsageError where it cannot be read."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {words(error)}") from error


def _text(path: Path, data: bytes) -> str:
    if not data:
        raise UsageError(f"{path} is empty: it holds no header and no rows")
    if (place := data.find(b"\0")) >= 0:
        line = data.count(b"\n", 0, place) + 1
        raise UsageError(f"{path}, line {line} holds a NUL byte: not text, or a damaged disk")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line} is not UTF-8: save the file as CSV UTF-8") from error


def _records(path: Path, content: str) -> Iterator[tuple[int, int, list[str]]]:
    """First line, last line and fields of each record, the checked header first."""
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    header: list[str] | None = None
    while True:
        first = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise UsageError(f"{path}, line {first} is not CSV ({error}); {_MEND}") from error
        if header is None:
            header = fields
            _check_header(path, header)
        elif fields and len(fields) != len(header):
            raise UsageError(
                f"{path}, line {first} has {len(fields)} fields, the header {len(header)}; {_MEND}"
            )
        if fields:  # an editor's blank line says nothing
            yield first, reader.line_num, fields


def _check_header(path: Path, header: list[str]) -> None:
    if "schema" not in header:
        raise UsageError(
            f"{path}, line 1 has no column 'schema': not a results file, or not separated by commas"
        )
    for name in header:
        if header.count(name) > 1:
            raise UsageError(f"{path}, line 1 has two columns {name!r}; delete one")


def _row(path: Path, line: int, header: list[str], fields: list[str]) -> Row:
    raw = dict(zip(header, fields, strict=True))
    if raw["schema"] != str(schema.VERSION):
        raise UsageError(
            f"{path}, line {line}, column 'schema': {raw['schema'][:20]!r}, and this program reads"
            f" {schema.VERSION}; use the version of it that wrote the file"
        )
    for column in schema.FIXED:
        if column.name not in raw:
            raise UsageError(f"{path}, line 1 lacks the column {column.name!r}: restore it")
    try:
        row = schema.typed(raw)
    except ValueError as error:
        raise UsageError(f"{path}, line {line}, {error}; {_MEND}") from error
    if problems := schema.contradictions(row):
        more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
        raise UsageError(f"{path}, line {line} contradicts itself: {problems[0]}{more}; {_MEND}")
    return row | {name: field for name, field in raw.items() if name not in schema.BY_NAME}
