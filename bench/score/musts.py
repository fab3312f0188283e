"""What a user cannot do without, asked of the rows: met, refused or not measured. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.capabilities import CAPABILITIES
from bench.errors import UsageError, unknown
from bench.grid import DEVICES, FORMATS, MODES, PRECISIONS

if TYPE_CHECKING:
    import pandas as pd  # a pilot file's musts are read where no rows are

MET, REFUSED, UNMEASURED = "met", "refused", "not measured"

PLAIN: Mapping[str, Mapping[str, str]] = {
    "train": {"WORKLOAD": "cnn"},
    "fine-tune": {"WORKLOAD": "transformer"},
    "infer": {"WORKLOAD": "export"},
    "llm": {"WORKLOAD": "llm"},
    "lora": {"WORKLOAD": "lora"},
    "generate": {"WORKLOAD": "generate"},
}
"""A must that is a word -> the choices of ``make bench`` that answer it."""

CHOICES: Mapping[str, tuple[str, Sequence[str]]] = {
    "export": ("FORMAT", FORMATS),
    "device": ("DEVICE", DEVICES),
    "precision": ("PRECISION", PRECISIONS),
    "mode": ("MODE", MODES),
    "capability": ("CAPABILITY", tuple(CAPABILITIES)),
}
"""A must that is written ``kind:value`` -> the choice that answers it, and its values."""

_COLUMNS = {
    "WORKLOAD": "workload",
    "FORMAT": "export_format",
    "DEVICE": "device",
    "PRECISION": "precision",
    "MODE": "mode",
    "CAPABILITY": "capability",
}
_WORKLOADS = {"export": "export", "capability": "capability"}
"""Kinds of musts that only one workload can answer."""

MAINTAINED = "maintained"


@dataclass(frozen=True)
class Must:
    """One thing that has to be there. choices: those of ``make bench`` that would settle it."""

    text: str
    choices: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What the rows say of one must for one backend. cell: the id of the row that says it."""

    must: Must
    verdict: str
    cell: str = ""
    reason: str = ""


def parsed(text: str) -> Must:
    """``train``, ``export:onnx``, ``device:cuda`` ...; UsageError with what there is."""
    kind, colon, value = text.partition(":")
    if not colon and kind in (*PLAIN, MAINTAINED):
        return Must(text, PLAIN.get(kind, {}))
    if colon and kind in CHOICES:
        choice, known = CHOICES[kind]
        if value not in known:
            raise unknown(f"--must {kind}", value, known)
        only = {"WORKLOAD": _WORKLOADS[kind]} if kind in _WORKLOADS else {}
        return Must(text, {choice: value, **only})
    known = [*PLAIN, MAINTAINED, *(f"{name}:{values[0]}" for name, (_, values) in CHOICES.items())]
    raise UsageError(str(unknown("--must", text, known)))


def answer(must: Must, rows: pd.DataFrame) -> Answer:
    """rows: one backend's, of ``cells.read``."""
    if must.text == MAINTAINED:
        return _maintained(must, rows)
    asks = "CAPABILITY" in must.choices
    mine = rows[(rows["status"] != "interrupted") & ((rows["capability"] != "") == asks)]
    for choice, value in must.choices.items():
        mine = mine[mine[_COLUMNS[choice]] == value]
    if mine.empty:
        return Answer(must, UNMEASURED)
    if mine["usable"].any():
        return Answer(must, MET, cell=str(mine.loc[mine["usable"], "cell_id"].iloc[0]))
    row = mine.iloc[0]
    return Answer(must, REFUSED, str(row["cell_id"]), f"{row['status']}: {row['reason']}")


def _maintained(must: Must, rows: pd.DataFrame) -> Answer:
    if rows.empty:
        return Answer(must, UNMEASURED)
    since = str(rows["archived"].iloc[-1])
    cell = str(rows["cell_id"].iloc[-1])
    if since:
        return Answer(must, REFUSED, cell, f"its upstream is archived since {since}")
    return Answer(must, MET, cell)
