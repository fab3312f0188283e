"""What all labelled samples share: which cannot be used, their classes, which are held out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.errors import UsageError
from bench.text import plain
from workloads import Own
from workloads.weights import Arrays

LEAST = 64
"""Samples of each side: so many are judged at a time (bench.worker.samples.HELD_OUT_BATCH)."""
NAMED = 5
"""Rows, or labels, that a line tells of one by one."""


@dataclass
class LeftOut:
    """The rows of a source that cannot be used. what: the source. total: rows, these included."""

    what: str
    total: int = 0
    rows: list[tuple[str, str]] = field(default_factory=list)

    def add(self, name: str, why: str) -> None:
        self.rows.append((name, why))

    @property
    def line(self) -> str:
        """How many, and the first few in words; or nothing."""
        if not self.rows:
            return ""
        few = ", ".join(f"{name} ({why})" for name, why in self.rows[:NAMED])
        more = len(self.rows) - NAMED
        rest = f" and {more} more" if more > 0 else ""
        return plain(f"{len(self.rows)} of {self.total} left out: {few}{rest}")


@dataclass(frozen=True)
class Sample:
    """name: a line or a file. key: sha256 of what is shown to a model, which decides the side."""

    name: str
    label: str
    key: bytes
    content: Any


def label_of(value: Any) -> str:
    """As text, in which 1, "1" and 1.0 are one class; "" where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def bad_label(label: str, classes: Sequence[str] | None) -> str:
    """Why a row cannot be used, or nothing. Negative numbers mean "unlabelled" by convention."""
    if not label:
        return "no label"
    if classes is not None:
        return "" if label in classes else f"label {label!r} is none of classes"
    return f"label {label} is out of range" if (_number(label) or 0) < 0 else ""


def classes(what: str, labels: Sequence[str], own: Own, *, limit: int) -> np.ndarray:
    """Class of each label, int64 [N]: the place in the list given, or among those found, in order,
    of numbers if all are. UsageError where they are more than ``limit``.
    """
    names = own.options["classes"] or _sorted(set(labels))
    if len(names) > limit:
        few = ", ".join(names[: 2 * NAMED]) + (", ..." if len(names) > 2 * NAMED else "")
        raise UsageError(
            f"{what} has {len(names)} classes ({plain(few)}), but [dims] classes is {limit}: raise "
            "that, or name those that count (classes = [...])"
        )
    if len(set(labels)) < 2:
        raise UsageError(f"all rows of {what} are of one class: there is nothing to be learned")
    place = {name: at for at, name in enumerate(names)}
    return np.array([place[label] for label in labels], dtype=np.int64)


def _sorted(labels: set[str]) -> list[str]:
    numbers = all(_number(label) is not None for label in labels)
    return sorted(labels, key=lambda label: (_number(label) or 0 if numbers else 0, label))


def _number(label: str) -> int | None:
    try:
        return int(label)
    except ValueError:
        return None


def split(samples: Sequence[Sample], arrays: Mapping[str, np.ndarray], own: Own) -> Arrays:
    """train.* and test.* of the arrays, each shuffled. By the content alone: a sample is on the
    same side in any file and on any machine, and its copies are with it. UsageError for too few.
    """
    share = own.options["held_out"]
    test = np.array([int.from_bytes(one.key[:8], "big") / 2**64 < share for one in samples])
    for held_out, rows in (("for training", ~test), ("held out", test)):
        if rows.sum() < LEAST:
            raise UsageError(
                f"of {len(samples)} usable samples {rows.sum()} are {held_out}, at least {LEAST} "
                f"are needed: bring more, or change held_out = {share}"
            )
    made: Arrays = {}
    for side, rows in (("train", ~test), ("test", test)):
        order = np.random.RandomState(0).permutation(np.flatnonzero(rows))
        made |= {f"{side}.{key}": array[order] for key, array in arrays.items()}
    return made


def usable(samples: Sequence[Sample], left_out: LeftOut) -> None:
    """UsageError where there are none, with what is wrong with the first few."""
    if not samples:
        said = f"nothing in it can be used: {left_out.line}" if left_out.rows else "it is empty"
        raise UsageError(f"{left_out.what}: {said}")
