"""Rows as CSV fields and back, exactly; and the page that describes the columns.

Parent half, stdlib only. ``python -m bench.rows.schema`` prints ``results/SCHEMA.md``.

How a value is written (``text``; ``typed`` reads it back):

- What could not be measured is an empty field. Empty is not zero.
- A row is one physical line, so that a file can be cut, counted and mended by lines: control
  characters, line separators, NUL and lone surrogates in a text become backslash escapes, and a
  backslash becomes two.
- A text that a spreadsheet would run as a formula (it starts with ``= + - @``, a tab or a carriage
  return) gets a leading apostrophe, and so does one that starts with an apostrophe, so that
  reading can take exactly one away.
- A float is the shortest decimal that reads back as the same float.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from bench.rows.column import Column, Kind, Row
from bench.rows.columns import (
    BY_NAME,
    CACHES,
    COLUMNS,
    FIXED,
    PARITIES,
    RUNGS,
    STATUSES,
    VERSION,
)
from bench.rows.consistency import contradictions
from bench.rows.further import FURTHER

__all__ = [
    "BY_NAME",
    "CACHES",
    "COLUMNS",
    "FIXED",
    "FURTHER",
    "HEADER",
    "PARITIES",
    "RUNGS",
    "STATUSES",
    "VERSION",
    "Column",
    "Kind",
    "Row",
    "contradictions",
    "field",
    "line",
    "plain",
    "text",
    "typed",
]

_FORMULA = frozenset("=+-@\t\r'")  # OWASP's list of CSV injection, and the guard itself
_UNPRINTABLE = re.compile(
    r"[\\\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"  # a tab may stay
)
_ESCAPED = re.compile(r"\\(\\|n|r|u[0-9a-f]{4})")
_NAMED = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_UNNAMED = {"\\": "\\", "n": "\n", "r": "\r"}
# float() and int() also take "1_0", " 1", "infinity" and other alphabets' digits.
_INT = re.compile(r"[+-]?[0-9]{1,19}")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SHOWN = 60


def text(row: Row) -> dict[str, str]:
    """Every column of ``row`` as a CSV field, in the file's order.

    The row must be free of ``contradictions``; a value of another type raises TypeError or
    ValueError.
    """
    return {
        column.name: "" if row.get(column.name) is None else _WRITE[column.kind](row[column.name])
        for column in COLUMNS
    }


def typed(raw: Mapping[str, str]) -> Row:
    """The row that ``text`` wrote. A column that ``raw`` lacks counts as empty.

    Raises ValueError, in one line that names the column, where a field is not of its kind.
    """
    row: Row = {}
    for column in COLUMNS:
        written = raw.get(column.name, "")
        try:
            row[column.name] = _READ[column.kind](written) if written else _EMPTY.get(column.kind)
        except ValueError as error:
            shown = written if len(written) <= _SHOWN else written[:_SHOWN] + "..."
            raise ValueError(f"column {column.name!r}: {shown!r} is not {error}") from error
    return row


def line(fields: Iterable[str]) -> bytes:
    """A line of the file, of the fields that ``text`` made."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(fields)
    return out.getvalue().encode()


HEADER = line(column.name for column in COLUMNS)


def _guard(value: str) -> str:
    return f"'{value}" if value[:1] in _FORMULA else value


def _unguard(field: str) -> str:
    # Someone else's "'abc" was never guarded and keeps its apostrophe.
    return field[1:] if field[:1] == "'" and field[1:2] in _FORMULA else field


def field(value: str) -> str:
    """A text as a CSV field: one line, and nothing that a spreadsheet would run."""
    return _UNPRINTABLE.sub(lambda found: _escape(found[0]), _guard(value))


def plain(field: str) -> str:
    """The text that a CSV field holds: without a guard, its escapes undone."""
    return _unguard(
        _ESCAPED.sub(lambda found: _UNNAMED.get(found[1]) or chr(int(found[1][1:], base=16)), field)
    )


def _escape(character: str) -> str:
    return _NAMED.get(character) or f"\\u{ord(character):04x}"


def _write_json(value: Any) -> str:
    """JSON has escapes of its own, and stays readable by any JSON reader."""
    return _guard(json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":")))


def _write_time(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _read_int(field: str) -> int:
    if not _INT.fullmatch(field):
        raise ValueError("a whole number")
    return int(field)


def _read_float(field: str) -> float:
    if not _FLOAT.fullmatch(field):
        raise ValueError("a finite decimal number")
    return float(field)


def _read_bool(field: str) -> bool:
    known = {"true": True, "false": False}
    if field.lower() not in known:  # spreadsheets write TRUE
        raise ValueError("true or false")
    return known[field.lower()]


def _read_json(field: str) -> Any:
    try:
        return json.loads(_unguard(field))
    except (ValueError, RecursionError) as error:
        raise ValueError("JSON") from error


def _read_time(field: str) -> datetime:
    try:
        found = datetime.fromisoformat(field)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("a time in ISO 8601") from error
    raise ValueError("a time with its zone (end it with Z)")


_WRITE: Mapping[Kind, Callable[[Any], str]] = {
    "text": field,
    "int": int.__repr__,
    # Not repr(): a subclass such as numpy's prints its own name around the number.
    "float": lambda value: float.__repr__(float(value)),
    "bool": lambda value: "true" if value else "false",
    "json": _write_json,
    "time": _write_time,
}
_READ: Mapping[Kind, Callable[[str], Any]] = {
    "text": plain,
    "int": _read_int,
    "float": _read_float,
    "bool": _read_bool,
    "json": _read_json,
    "time": _read_time,
}
_EMPTY: Mapping[Kind, str] = {"text": ""}

_PAGE = """\
# The columns of a results file

One row is one cell in one fresh process, whatever happened to it; one row is one line of a CSV file
(UTF-8, commas, header first, LF). Made from `bench/columns.py`:
`python -m bench.rows.schema > results/SCHEMA.md`.

- An empty field is a figure that could not be measured. Empty is not zero.
- Units are in the names; floats are in full precision; times are UTC in ISO 8601 with `Z`;
  booleans are `true` and `false`; `settings` is compact JSON.
- In text and JSON, a leading apostrophe before `= + - @`, a tab, a carriage return or another
  apostrophe is not part of the value: it keeps spreadsheets from running it as a formula. In text,
  a backslash is written as `\\\\`, a newline as `\\n`, a carriage return as `\\r`, other control
  characters as `\\u` and four hexadecimal digits; so a row is always one line.
- The columns of the first table are fixed within a schema version. Those of the second followed
  them; a file may lack them, and more may follow: readers go by name.
- A row that contradicts itself (`bench/consistency.py`) is refused when written and when read.
- Raw times lie beside the file in `<name>.steps.jsonl.gz`, one compressed JSON line a row:
  `cell_id`, `repeat`, `block_steps` (steps in a timed block), `block_ns` (each block) and `step_ns`
  (each step that was waited for), in nanoseconds.
- What each line was when it was written stands in `<name>.sha256`, a line for the header and for
  each row: `ROW TIMES LINK`. ROW is the SHA-256 of the line, its newline included; TIMES that of
  its line of raw times, `-` where there is none, `dropped` where a resumed run took the row out
  again; LINK that of `BEFORE ROW TIMES` and a newline, where BEFORE is the LINK before (`-` in the
  first line). docs/provenance.md checks it by hand; older files have none.

## Fixed
{fixed}

## Further
{further}
"""


def page() -> str:
    """``results/SCHEMA.md``."""
    return _PAGE.format(fixed=_table(FIXED), further=_table(FURTHER))


def _table(columns: tuple[Column, ...]) -> str:
    lines = ["| column | kind | unit | what and from where |", "|---|---|---|---|"]
    lines += [f"| `{c.name}` | {c.kind} | {c.unit} | {c.doc} |" for c in columns]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(page())
