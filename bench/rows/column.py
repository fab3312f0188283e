"""What a column is; parent half, stdlib only."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Kind = Literal["text", "int", "float", "bool", "json", "time"]

Row = dict[str, Any]
"""Column -> value. ``text`` is str, ``time`` an aware datetime, ``json`` plain JSON values. What
could not be measured is None, or "" in a text column; a missing key means the same."""


class Column(NamedTuple):
    """One column; ``unit`` is "" where there is none, ``doc`` says what it is and its source."""

    name: str
    kind: Kind
    unit: str
    doc: str
