"""Which cells of two sides may be compared, and why the others may not."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pandas as pd

from bench.child import isolation
from bench.compare.sides import Side

LOST, GAINED, NEITHER = "lost", "gained", "neither"
PARITY, PRECISION, SETTINGS = "parity", "precision", "settings"

HAPPENED = frozenset({"cpus", "steady", "changed_while_running", "loss_scale", isolation.SETTING})
"""Settings that record what happened, not how it was run; and in what a worker was shut in, which
rows of before it do not say, and which was not seen to move a figure (docs/isolation.md).
"""


OWN = frozenset({"threads"})
"""Of two cells, such as two backends', only these must be the same: the others are their own."""


@dataclass(frozen=True)
class Matched:
    """Two sides over one list of keys. codes: a row's place in ``keys``.

    reasons: a key's reason to be incomparable in words, or ""; causes: the same in one word.
    """

    base: Side
    new: Side
    keys: np.ndarray
    base_codes: np.ndarray
    new_codes: np.ndarray
    causes: np.ndarray
    reasons: np.ndarray


def match(base: Side, new: Side, *, ignored: Collection[str] = ()) -> Matched:
    """``ignored``: settings that may differ. Between machines all may: that is the comparison."""
    keys = pd.Index(base.rows["key"].unique().astype(str)).union(
        pd.Index(new.rows["key"].unique().astype(str))
    )
    codes = [_codes(side.rows, keys) for side in (base, new)]
    facts = [_Facts(side, code, keys) for side, code in zip((base, new), codes, strict=True)]
    causes = np.full(len(keys), "", dtype=object)
    reasons = causes.copy()
    rules = [_measured(*facts), _parity(*facts), _honest(*facts)]
    if _same_machine(base.rows, new.rows):
        own = frozenset() if _one_cell(keys) else OWN
        rules.append(_settings(*facts, only=own, ignored=frozenset(ignored) | HAPPENED))
    for rule in rules:
        for place, (cause, reason) in rule.items():
            if not causes[place]:
                causes[place], reasons[place] = cause, reason
    return Matched(base, new, keys.to_numpy(object), codes[0], codes[1], causes, reasons)


Found = dict[int, tuple[str, str]]
"""A key's place -> cause and reason."""


def _places(which: np.ndarray) -> list[int]:
    places: list[int] = np.flatnonzero(which).tolist()
    return places


class _Facts:
    """What one side says of each key, beside its figures."""

    def __init__(self, side: Side, codes: np.ndarray, keys: pd.Index) -> None:
        self.name = side.name
        self.count = len(keys)
        self.rows = side.rows
        self.codes = codes
        self.ok = (side.rows["status"] == "ok").to_numpy()
        self.measured = self.any(self.ok)
        self.present = self.any(np.ones(len(codes), bool))

    def any(self, which: np.ndarray) -> np.ndarray:
        """Per key: does any of the rows hold?"""
        return np.bincount(self.codes[which], minlength=self.count) > 0

    def ended(self, place: int) -> str:
        """How the key's first row that is not ok ended, in words."""
        if not self.present[place]:
            return f"{self.name} has no such cell"
        return self._ended[place]

    @cached_property
    def _ended(self) -> list[str]:
        """The same for every key at once, as a million rows may have many that ended."""
        places = np.flatnonzero(~self.ok)[::-1]
        first = np.zeros(self.count, np.int64)
        first[self.codes[places]] = places
        status, reason = (self.rows[name].astype(str).to_numpy() for name in ("status", "reason"))
        return [f"{self.name}: {status[row]}: {reason[row]}" for row in first.tolist()]


def _codes(rows: pd.DataFrame, keys: pd.Index) -> np.ndarray:
    """Each row's place among the keys."""
    column = rows["key"].astype("category")
    places: np.ndarray = keys.get_indexer(pd.Index(column.cat.categories.astype(str)))
    found: np.ndarray = places[column.cat.codes.to_numpy()]
    return found


def _measured(base: _Facts, new: _Facts) -> Found:
    found: Found = {}
    for place in _places(~(base.measured & new.measured)):
        if base.measured[place]:
            found[place] = LOST, new.ended(place)
        elif new.measured[place]:
            found[place] = GAINED, base.ended(place)
        else:
            found[place] = NEITHER, f"{base.ended(place)}; {new.ended(place)}"
    return found


def _parity(base: _Facts, new: _Facts) -> Found:
    """One process that computed something else taints the cell, however well others did."""
    found: Found = {}
    for facts in (base, new):
        failed = facts.any((facts.rows["parity"] == "failed").to_numpy())
        # A file that was exported is judged by its rung; a row of a user's own has no reference.
        for place in _places(failed):
            found[place] = PARITY, f"{facts.ended(place)}"
    return found


def _honest(base: _Facts, new: _Facts) -> Found:
    found: Found = {}
    for facts in (base, new):
        lied = facts.any((facts.rows["precision_honest"] == "false").to_numpy() & facts.ok)
        for place in _places(lied):
            found[place] = (
                PRECISION,
                f"{facts.name} is faster than a matrix product in the precision that it claims",
            )
    return found


def _same_machine(*sides: pd.DataFrame) -> bool:
    """One kind of device in one place."""
    kinds = [set(zip(rows["cluster"], rows["device_name"], strict=True)) for rows in sides]
    return kinds[0] == kinds[1]


def _one_cell(keys: pd.Index) -> bool:
    """Whether a key is a cell's id, and not what several have in common."""
    return not any("*" in key.split("/") for key in keys)


def _settings(base: _Facts, new: _Facts, *, only: frozenset[str], ignored: frozenset[str]) -> Found:
    """What was in force, where both sides are one machine; ``only``: names to look at, or all."""
    found: Found = {}
    texts = [facts.rows["settings"].astype("category") for facts in (base, new)]
    known = pd.api.types.union_categoricals(texts).categories
    sides = [_pairs(facts, text, known) for facts, text in zip((base, new), texts, strict=True)]
    unlike = pd.concat(sides).drop_duplicates(keep=False)["key"].unique()
    theirs = [side[side["key"].isin(unlike)].groupby("key")["code"].agg(list) for side in sides]
    for place in unlike[(base.measured & new.measured)[unlike]].tolist():
        values = [[str(known[code]) for code in side[place]] for side in theirs]
        names = _differing(*values, ignored=ignored)
        if names := [name for name in names if not only or name in only]:
            found[place] = SETTINGS, f"other settings: {', '.join(names)}"
    return found


def _pairs(facts: _Facts, texts: pd.Series, known: pd.Index) -> pd.DataFrame:
    """A line for each settings' text that a key's rows have: the text's place in ``known``."""
    codes = known.get_indexer(texts.cat.categories)[texts.cat.codes.to_numpy()]
    pairs = pd.DataFrame({"key": facts.codes[facts.ok], "code": codes[facts.ok]})
    return pairs.drop_duplicates()


def _differing(base: Iterable[str], new: Iterable[str], *, ignored: frozenset[str]) -> list[str]:
    """Names of settings of which the sides' processes had different values."""
    values = [_values(texts) for texts in (base, new)]
    names = sorted(set(values[0]) | set(values[1]))
    return [
        name for name in names if name not in ignored and values[0].get(name) != values[1].get(name)
    ]


def _values(texts: Iterable[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for text in texts:
        for name, value in _parsed(text).items():
            found.setdefault(name, set()).add(json.dumps(value, sort_keys=True))
    return found


@lru_cache(maxsize=4096)
def _parsed(text: str) -> dict[str, Any]:
    """Settings are JSON; what is not an object has no names to compare."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {"settings": text}
    return found if isinstance(found, dict) else {"settings": found}
