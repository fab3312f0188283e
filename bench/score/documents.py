"""The founding documents' tables, and weights: data files, read and checked.

``results/documents/scores.csv`` holds their scores from 0 to 10, ``weights.csv`` their weights,
``profiles.csv`` the weights of those who ask, with the reason.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UsageError, unknown
from bench.rows import schema
from bench.rows.reading import words

FOLDER = Path(__file__).parents[2] / "results" / "documents"
CRITERIA = ("core", "ease", "integrations", "security", "performance", "support", "value")
HIGHEST = 10.0

Weights = Mapping[str, float]
"""Criterion -> weight; they add up to 1."""


@dataclass(frozen=True)
class Opinion:
    """What the documents say of one backend: criterion -> score from 0 to 10."""

    backend: str
    name: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Profile:
    """Who asks, what they weigh, and why."""

    name: str
    weights: Weights
    reason: str


def opinions(folder: Path = FOLDER) -> list[Opinion]:
    """The documents' ten rows, in their order."""
    path = folder / "scores.csv"
    found = []
    for line, fields in records(path, ("backend", "name", *CRITERIA)):
        scores = {name: _number(path, line, name, fields[name]) for name in CRITERIA}
        if worst := next((name for name, one in scores.items() if one > HIGHEST), None):
            raise UsageError(f"{path}, line {line}, column {worst!r}: scores end at 10; mend it")
        found.append(Opinion(fields["backend"], fields["name"], scores))
    return found


def weights(path: Path = FOLDER / "weights.csv") -> Weights:
    """A file with the columns criterion and weight, one line a criterion; scaled to add up to 1."""
    found: dict[str, float] = {}
    for line, fields in records(path, ("criterion", "weight")):
        name = fields["criterion"]
        if name not in CRITERIA:
            raise UsageError(f"{path}, line {line}: {unknown('criterion', name, CRITERIA)}")
        if name in found:
            raise UsageError(f"{path}, line {line}: {name} is there twice; delete one")
        found[name] = _number(path, line, "weight", fields["weight"])
    if missing := [name for name in CRITERIA if name not in found]:
        raise UsageError(
            f"{path} lacks {', '.join(missing)}: give a weight, 0 if it does not count"
        )
    return _scaled(found, str(path))


def profiles(folder: Path = FOLDER) -> dict[str, Profile]:
    """Name -> profile."""
    path = folder / "profiles.csv"
    found = {}
    for line, fields in records(path, ("profile", *CRITERIA, "reason")):
        given = {name: _number(path, line, name, fields[name]) for name in CRITERIA}
        name = fields["profile"]
        found[name] = Profile(name, _scaled(given, f"{path}, line {line}"), fields["reason"])
    return found


def rescaled(base: Weights, changes: Mapping[str, float]) -> Weights:
    """``changes`` as given, the other weights in their old proportion making up the rest."""
    for name, weight in changes.items():
        if name not in CRITERIA:
            raise unknown("criterion", name, CRITERIA)
        if not 0 <= weight <= 1:
            raise UsageError(f"--set {name}={weight:g}: a weight lies between 0 and 1")
    rest = 1 - math.fsum(changes.values())
    if rest < -1e-9:
        raise UsageError(f"--set: the weights given add up to {1 - rest:g}; at most 1 is there")
    others = math.fsum(base[name] for name in CRITERIA if name not in changes)
    if others == 0 and rest > 1e-9:
        raise UsageError(
            "--set: nothing is left to hold the rest of the weight; they must sum to 1"
        )
    scale = max(rest, 0.0) / others if others else 0.0
    return {name: changes.get(name, base[name] * scale) for name in CRITERIA}


def total(scores: Mapping[str, float], weighted: Weights) -> float:
    """The weighted sum; rounded where binary fractions would show 8.549999999."""
    return round(math.fsum(weighted[name] * scores[name] for name in CRITERIA), 9)


def _scaled(given: Mapping[str, float], where: str) -> Weights:
    whole = math.fsum(given.values())
    if whole <= 0:
        raise UsageError(f"{where}: all weights are 0; raise one")
    if math.isclose(whole, 1.0):
        return dict(given)
    return {name: weight / whole for name, weight in given.items()}


def records(path: Path, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Line number and fields of each line of a table; UsageError names what is wrong."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise UsageError(f"{path}, line 1 lacks the column {missing[0]!r}: restore it")
            found = [(reader.line_num, fields) for fields in reader]
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {words(error)}") from error
    except csv.Error as error:
        raise UsageError(f"{path} is not CSV ({error}); mend it") from error
    for line, fields in found:
        if None in fields or None in fields.values():
            raise UsageError(f"{path}, line {line} has not as many fields as line 1; mend it")
    return [(line, {k: schema.plain(v) for k, v in fields.items()}) for line, fields in found]


def _number(path: Path, line: int, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise UsageError(f"{path}, line {line}, column {name!r}: {text!r} is no number from 0 up")
    return value
