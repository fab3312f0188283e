"""The kinds of values that columns hold, and what is wrong with a value of one.

Parent half, stdlib only, pure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

TEXT_LIMIT = 20_000
"""Characters of a text or JSON value: six times as many, fully escaped, is what csv still reads."""

INT_LIMIT = 2**63 - 1


def problem_of(kind: str, value: Any) -> str | None:
    """In words, after the column's name; None for nothing."""
    return _PROBLEMS[kind](value)


def _text_problem(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"is not a text but {type(value).__name__}"
    return f"is longer than {TEXT_LIMIT} characters" if len(value) > TEXT_LIMIT else None


def _int_problem(value: Any) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return f"is not a whole number but {value!r}"
    return "is too large to be a count" if abs(value) > INT_LIMIT else None


def _float_problem(value: Any) -> str | None:
    if not isinstance(value, float):
        inexact = "is not exact as a float"
        return _int_problem(value) or (None if float(value) == value else inexact)
    return None if math.isfinite(value) else f"is not finite: {value}"


def _bool_problem(value: Any) -> str | None:
    return None if isinstance(value, bool) else f"is not true or false but {value!r}"


def _json_problem(value: Any) -> str | None:
    try:
        written = json.dumps(value, allow_nan=False, sort_keys=True)
        survives = json.loads(written) == value
    except (TypeError, ValueError, RecursionError) as error:
        return f"is not JSON: {error}"
    if not survives:
        return "does not survive as JSON (a tuple, or a key that is not a text)"
    return _text_problem(written)


def _time_problem(value: Any) -> str | None:
    if not isinstance(value, datetime):
        return f"is not a time but {type(value).__name__}"
    return "has no time zone" if value.tzinfo is None else None


_PROBLEMS: dict[str, Callable[[Any], str | None]] = {
    "text": _text_problem,
    "int": _int_problem,
    "float": _float_problem,
    "bool": _bool_problem,
    "json": _json_problem,
    "time": _time_problem,
}
