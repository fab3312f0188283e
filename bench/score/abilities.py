"""Core features, integrations and ease: what the rows show that a backend can do. Pure.

``unsupported`` is an answer and counts as no; what no row tried is not measured and counts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from bench.capabilities import (
    CHECKPOINT,
    DATA_PARALLEL,
    DLPACK,
    DYNAMIC_SHAPES,
    SAFE_LOAD,
    SAFETENSORS,
    SHARDING,
)
from bench.contract import GENERATE
from bench.rows.schema import RUNGS
from bench.score import SERVE, TRAIN, evidence
from bench.score.evidence import Evidence, Subject

FIRST_STEP_HALF_S = 30.0  # half a minute from a cold start to a finished step: half the marks

Which = Callable[[pd.DataFrame], pd.Series]
_TRAINING: Mapping[str, Which] = {
    "train": lambda rows: rows["workload"] == "cnn",
    "fine-tune": lambda rows: rows["workload"] == "transformer",
    "compiled mode": lambda rows: rows["mode"] == "compiled",
    "mixed precision": lambda rows: rows["precision"].isin(["bf16", "fp16"]),
    "language model": lambda rows: rows["workload"] == "llm",
    "low-rank adapters": lambda rows: rows["workload"] == "lora",
}
_SERVING: Mapping[str, Which] = {
    "infer": lambda rows: (rows["workload"] == "export") & (rows["precision"] != "int8"),
    "generate": lambda rows: rows["workload"] == GENERATE,
    "int8": lambda rows: rows["precision"] == "int8",
}
FEATURES: Mapping[str, Mapping[str, Which]] = {TRAIN: _TRAINING, SERVE: _SERVING}
"""Task -> core feature -> its rows among the task's: one that is usable is enough."""

ANSWERS: Mapping[str, Mapping[str, str]] = {
    TRAIN: {
        "several devices": DATA_PARALLEL,
        "sharding": SHARDING,
        "checkpoint and resume": CHECKPOINT,
        "dynamic shapes": DYNAMIC_SHAPES,
    },
    SERVE: {"dynamic shapes": DYNAMIC_SHAPES},
}
"""Task -> core feature -> the capability whose rows answer for it."""

EXCHANGES = {"safetensors": SAFETENSORS, "DLPack": DLPACK}


def core(rows: pd.DataFrame, task: str) -> list[Evidence]:
    """The tried features of a task that work, one sub-score each; end-to-end has both tasks'."""
    return [
        found
        for which in ((task,) if task in FEATURES else FEATURES)
        for backend, mine in rows[rows["task"] == which].groupby("backend", observed=True)
        for name, where in FEATURES[which].items()
        for found in _probe(str(backend), name, mine[where(mine)])
    ]


def answers(asked: pd.DataFrame, task: str) -> list[Evidence]:
    """The capabilities that count as core features of a task. asked: rows of that workload."""
    features = {
        name: capability
        for which in ((task,) if task in ANSWERS else ANSWERS)
        for name, capability in ANSWERS[which].items()
    }
    return list(_each(asked, "core", features))


def exchanges(asked: pd.DataFrame) -> list[Evidence]:
    """Weights and arrays that other programs have made, and take."""
    return list(_each(asked, "integrations", EXCHANGES))


def safe_load(asked: pd.DataFrame) -> list[Evidence]:
    """Security: whether a checkpoint's code is left alone. What did not get so far says nothing."""
    answered = asked[asked["status"].isin(["ok", "failed"])]
    return list(_each(answered, "security", {"safe load": SAFE_LOAD}))


def _each(asked: pd.DataFrame, criterion: str, names: Mapping[str, str]) -> Iterator[Evidence]:
    for backend, mine in asked.groupby("backend", observed=True):
        for name, capability in names.items():
            yield from _probe(str(backend), name, mine[mine["capability"] == capability], criterion)


def determinism(rows: pd.DataFrame) -> list[Evidence]:
    """Cells whose fresh processes, of one seed and one lock, ended on the same loss to the bit."""
    trained = rows[rows["usable"] & rows["loss_last"].notna()]
    alike = ["backend", "cell_id", "contest", "env_lock", "env_python", "quality_steps"]
    losses = trained.groupby(alike, observed=True, dropna=False)["loss_last"]
    several = losses.agg(["nunique", "size"]).reset_index()
    several = several[several["size"] > 1]
    return [
        evidence.passed(
            Subject(str(backend), "core", "determinism", _cells(mine)),
            yes=int((mine["nunique"] == 1).sum()),
            of=len(mine),
        )
        for backend, mine in several.groupby("backend", observed=True)
    ]


def _probe(
    backend: str, name: str, rows: pd.DataFrame, criterion: str = "core"
) -> Iterator[Evidence]:
    tried = rows[rows["status"] != "interrupted"]
    if len(tried):
        works = bool(tried["usable"].any())
        good = tried[tried["usable"]] if works else tried
        subject = Subject(backend, criterion, name, _cells(good))
        yield evidence.certain(subject, float(works), "works", share=float(works))


def integrations(rows: pd.DataFrame) -> list[Evidence]:
    """The export ladder over formats and models, and the devices that really work."""
    found: list[Evidence] = []
    for backend, mine in rows.groupby("backend", observed=True):
        answered = mine[mine["status"] != "interrupted"]
        exports = answered[answered["workload"] == "export"]
        found += _ladder(str(backend), exports)
        kinds = answered.groupby(answered["device"].astype(str))["usable"].any()
        if len(kinds):
            subject = Subject(str(backend), "integrations", "devices", _cells(answered))
            works = int(kinds.sum())
            # Counted, not sampled: these are all the kinds that were tried.
            share = works / len(kinds)
            found.append(evidence.certain(subject, works, f"of {len(kinds)}", share=share))
    return found


def _ladder(backend: str, rows: pd.DataFrame) -> Iterator[Evidence]:
    """Rungs reached of the rungs there are, each cell at its worst process."""
    if rows.empty:
        return
    top = len(RUNGS) - 1
    place = rows["export_rung"].astype(str).map({name: at for at, name in enumerate(RUNGS)})
    reached = place.fillna(0).where(rows["status"] != "parity_failed", 0)
    each = reached.groupby(rows["cell_id"], observed=True).min()
    subject = Subject(backend, "integrations", "export rungs", _cells(rows))
    yield evidence.passed(subject, yes=int(each.sum()), of=top * len(each))


def ease(rows: pd.DataFrame) -> list[Evidence]:
    """Seconds from a cold process to the first finished training step."""
    trained = rows[rows["usable"] & rows["usual"] & (rows["task"] == TRAIN)]
    cold = trained[trained["compile_cache"] != "warm"]
    seconds = cold["import_s"] + cold["build_s"] + cold["first_step_s"]
    found = []
    for backend, mine in seconds.dropna().groupby(cold["backend"].astype(str)):
        n = len(mine)
        found.append(
            evidence.costs(
                Subject(str(backend), "ease", "first step", _cells(cold.loc[mine.index])),
                *(float(mine.mean()), "s"),
                at=FIRST_STEP_HALF_S,
                error=float(np.std(mine, ddof=1)) / math.sqrt(n) if n > 1 else 0.0,
            )
        )
    return found


def _cells(rows: pd.DataFrame) -> Sequence[str]:
    return tuple(sorted(str(one) for one in rows["cell_id"].unique()))
