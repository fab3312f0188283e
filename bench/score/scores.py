"""From rows to rankings: train, serve and end-to-end are kept apart. Pure.

A runtime is not a training framework: who cannot do a task is not ranked in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from bench.capabilities import CHECKPOINT
from bench.score import (
    ASKED,
    SERVE,
    TASKS,
    TRAIN,
    WHOLE,
    abilities,
    code,
    snapshots,
    speed,
    supply,
)
from bench.score.documents import Opinion
from bench.score.evidence import Evidence
from bench.score.update import Question, Standing, Turn, standings, turning

DOCUMENTS = "documents"


@dataclass(frozen=True)
class Ranking:
    """The standings of one task, and what would dethrone their leader.

    strangers: backends that have rows and no line in the documents, so no prior to correct.
    """

    task: str
    standings: Sequence[Standing]
    turn: Turn | None
    strangers: Sequence[str] = ()

    @property
    def leader(self) -> Standing:
        return self.standings[0]


@dataclass(frozen=True)
class Given:
    """What the user gives beside the rows. prices: device's name -> currency units an hour."""

    prices: Mapping[str, float] = field(default_factory=dict)
    evidence: Sequence[Evidence] = ()


NOTHING = Given()


def of_documents(opinions: Sequence[Opinion], question: Question) -> Ranking:
    """What the documents say alone."""
    return _ranking(DOCUMENTS, opinions, [], question, {})


def of_rows(
    rows: pd.DataFrame,
    opinions: Sequence[Opinion],
    question: Question,
    given: Given = NOTHING,
) -> dict[str, Ranking]:
    """Task -> ranking. rows: of ``cells.read``."""
    names = [one.backend for one in opinions]
    asked = rows[rows["task"] == ASKED]
    rows = rows[rows["task"] != ASKED]
    shared = [
        *abilities.integrations(rows),
        *abilities.exchanges(asked),
        *abilities.safe_load(asked),
        *abilities.ease(rows),
        *code.ease(names),
        *supply.security(names),
        *snapshots.support(names),
        *snapshots.ease(names),
        *given.evidence,
    ]
    found = {}
    # A checkpoint takes training: who was asked for nothing but capabilities has said it there.
    trained = pd.concat([rows[rows["task"] == TRAIN], asked[asked["capability"] == CHECKPOINT]])
    served = rows[rows["task"] == SERVE]
    unable = {TRAIN: _unable(trained, TRAIN), SERVE: _unable(served, SERVE)}
    for task in TASKS:
        mine = rows if task == WHOLE else rows[rows["task"] == task]
        evidence = [*shared, *abilities.core(rows, task), *abilities.determinism(mine)]
        evidence += abilities.answers(asked, task)
        evidence += [*speed.performance(mine), *speed.value(mine, given.prices)]
        excluded = unable[TRAIN] | unable[SERVE] if task == WHOLE else unable[task]
        found[task] = replace(
            _ranking(task, opinions, evidence, question, excluded),
            strangers=sorted(set(mine["backend"].astype(str)) - set(names)),
        )
    return found


def _unable(rows: pd.DataFrame, task: str) -> dict[str, str]:
    """Backends that answered every cell of a task with ``unsupported``, and the reason."""
    answered = rows[rows["status"] != "interrupted"]
    found = {}
    for backend, mine in answered.groupby("backend", observed=True):
        if (mine["status"] == "unsupported").all():
            found[str(backend)] = f"does not {task}: {mine['reason'].iloc[0]}"
    return found


def _ranking(
    task: str,
    opinions: Sequence[Opinion],
    evidence: Sequence[Evidence],
    question: Question,
    excluded: Mapping[str, str],
) -> Ranking:
    made = standings(opinions, evidence, question, excluded=excluded)
    return Ranking(task, made, turning(made, question.weights))
