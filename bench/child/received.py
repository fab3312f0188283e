"""What comes from a worker, looked at before it is believed.

Parent half. An adapter may be anybody's, and a framework may write where it should not: an answer
that is none, or a row that speaks of another cell, ends that cell and nothing else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.child.pipes import LONGEST
from bench.contract import BenchError
from bench.rows import schema

PARENTS = frozenset(
    {
        *("schema", "run_id", "cell_id", "repeat", "started_at", "cluster", "host", "backend"),
        *("workload", "model", "size", "device", "precision", "mode", "track", "batch"),
        *("world_size", "status", "reason", "git_rev", "env_lock", "wall_s", "schedule", "seed"),
    }
)
"""Columns that only the parent fills: they say whose row it is and what became of it."""

OWN_ANSWERS = frozenset({"check", "devices", "duel", "infer"})

_TYPES: Mapping[str, tuple[type, ...]] = {
    "text": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "json": (dict, list, str, int, float, bool),
    "time": (),
}

Answer = dict[str, Any]


class Unbelievable(BenchError):
    """What a worker said makes no sense; the reason of its row."""


def answer(do: str, line: bytes, *, role: str) -> Answer:
    """The reply to the command ``do``, of one line of JSON. Unbelievable where it is none.

    role: of the worker (bench.job.Job); some have answers of their own, which are not looked into.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Unbelievable(f"{do}: the worker's answer is no JSON") from error
    if not isinstance(found, dict):
        raise Unbelievable(f"{do}: the worker's answer is no object")
    own = {} if role in OWN_ANSWERS else _WANTED.get(do, {})
    wanted = _STATUS if "status" in found else own
    for name, fits in wanted.items():
        if not fits(found.get(name)):
            raise Unbelievable(f"{do}: the worker's answer has no {name} that makes sense")
    return found


def row(path: Path) -> tuple[Answer, Answer]:
    """Columns and raw times of the row file that a worker left; both empty where it left none."""
    try:
        if path.stat().st_size > LONGEST:
            raise Unbelievable(f"the worker's row file is larger than {LONGEST >> 20} MiB")
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}, {}
    except (OSError, ValueError, RecursionError) as error:
        raise Unbelievable("the worker's row file cannot be read") from error
    columns, times = (found.get(name) for name in ("row", "times")) if _is(dict)(found) else ({}, 0)
    if not (_is(dict)(columns) and _is(dict)(times)):
        raise Unbelievable("the worker's row file holds no row")
    for name, value in columns.items():
        if name in PARENTS or not _fits(name, value):
            raise Unbelievable(f"the worker's row file has a {name!r} that is not for it to say")
    if not all(_counts(value) or _whole(value) for value in times.values()):
        raise Unbelievable("the worker's row file has times that are none")
    return columns, times


def _fits(name: str, value: Any) -> bool:
    column = schema.BY_NAME.get(name)
    if column is None:
        return False
    if name == "settings" and not isinstance(value, dict):  # names and values: the parent adds some
        return False
    number = column.kind in ("int", "float") and isinstance(value, bool)
    return value is None or (isinstance(value, _TYPES[column.kind]) and not number)


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_whole, value))


_STATUS = {"status": lambda value: value in schema.STATUSES, "reason": _is(str)}
_WANTED: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "warm_up": {
        "block_steps": lambda value: _whole(value) and value > 0,
        "block_ns": lambda value: isinstance(value, int | float) and 0 < value < math.inf,
    },
    "run": {"block_ns": _counts},
    "climb": {"rung": _is(str), "error": lambda value: value is None or isinstance(value, str)},
}
"""What the parent reads of an answer, by command."""
