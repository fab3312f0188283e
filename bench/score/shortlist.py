"""``bench shortlist``: two or three names, with reasons that cite rows."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.errors import EXIT_NO, EXIT_OK
from bench.score import SERVE, TRAIN, WHOLE, cells, command, documents, musts, scores
from bench.score import limits as limiting
from bench.score.documents import CRITERIA
from bench.score.limits import LIMITS, Limits
from bench.score.musts import MET, REFUSED, UNMEASURED, Answer, Must
from bench.score.update import Standing, chance
from bench.text import plain

NAMES = 3
WORTH = 0.05
"""A third name is given where it has at least this probability of a place among the first three."""


@dataclass(frozen=True)
class Candidate:
    """One backend with the answers to every must."""

    standing: Standing
    answers: Sequence[Answer]

    def with_verdict(self, verdict: str) -> list[Answer]:
        return [one for one in self.answers if one.verdict == verdict]


@dataclass(frozen=True)
class Shortlist:
    """named: at most three, the best first; out: who is disqualified; the rest came after."""

    task: str
    named: Sequence[Candidate]
    rest: Sequence[Candidate]
    out: Sequence[Candidate]


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 where nobody fulfils every must, even if it were measured."""
    asked = [musts.parsed(text) for text in arguments.must]
    question = command.asked(arguments)
    rows = cells.read(arguments.results, track=arguments.track)
    rankings = scores.of_rows(rows, documents.opinions(), question, command.given(arguments))
    found = chosen(rows, rankings, asked, limits=limits_of(arguments))
    sys.stdout.write(as_json(found) if arguments.json else "\n".join(lines(found)) + "\n")
    return EXIT_OK if found.named else EXIT_NO


def limits_of(arguments: argparse.Namespace) -> Limits:
    """Those that the options name."""
    given = {name: getattr(arguments, name) for name in LIMITS}
    return {name: most for name, most in given.items() if most is not None}


def chosen(
    rows: pd.DataFrame,
    rankings: Mapping[str, scores.Ranking],
    asked: Sequence[Must],
    *,
    limits: Limits = limiting.NONE,
) -> Shortlist:
    """Pure: the ranking of the task that the musts are about, less who does not fulfil them."""
    task = _task(asked)
    found = []
    for one in rankings[task].standings:
        mine = rows[rows["backend"] == one.backend]
        answers = [musts.answer(must, mine) for must in asked]
        answers += limiting.answers(limits, mine)
        if one.excluded:
            answers.append(Answer(Must(task, {}), REFUSED, reason=one.excluded))
        found.append(Candidate(one, answers))
    out = [one for one in found if one.with_verdict(REFUSED)]
    able = [one for one in found if one not in out]
    named = [one for at, one in enumerate(able) if at < 2 or one.standing.top_three >= WORTH]
    return Shortlist(task, named[:NAMES], [one for one in able if one not in named[:NAMES]], out)


def _task(asked: Sequence[Must]) -> str:
    """Who must only infer asks for a runtime; who must only train, for a framework."""
    serves = any(must.choices.get("WORKLOAD") == "export" for must in asked)
    trains = any(must.choices.get("WORKLOAD") in ("cnn", "transformer") for must in asked)
    if serves == trains:
        return WHOLE
    return SERVE if serves else TRAIN


def lines(found: Shortlist) -> list[str]:
    """In words, a fact a line."""
    said = [f"Shortlist ({found.task}): " + (", ".join(_names(found.named)) or "nobody")]
    for one in found.named:
        said += ["", f"{one.standing.backend}: {_standing(one.standing)}"]
        said += [f"  {_answer(answer)}" for answer in one.answers]
        said += [f"  settle it: {line}" for line in commands(one)]
    if found.out:
        said += ["", "Disqualified:"]
        said += [
            f"  {one.standing.backend}: {_answer(answer)}"
            for one in found.out
            for answer in one.with_verdict(REFUSED)
        ]
    if found.rest:
        said += ["", f"Able, but behind: {', '.join(_names(found.rest))}"]
    return [_indented(line) for line in said]


def _indented(line: str) -> str:
    """What rows say is made one plain line; our own indentation stays."""
    return line[: len(line) - len(line.lstrip(" "))] + plain(line)


def _names(candidates: Sequence[Candidate]) -> list[str]:
    return [one.standing.backend for one in candidates]


def _standing(one: Standing) -> str:
    """Total and interval, how probable the first place is, and the strongest criteria."""
    best = sorted(CRITERIA, key=lambda name: -one.criteria[name].updated)[:2]
    strong = " and ".join(f"{name} {one.criteria[name].updated:.1f}" for name in best)
    unmeasured = [name for name in CRITERIA if one.criteria[name].measured is None]
    rest = f"; opinion only: {', '.join(unmeasured)}" if unmeasured else ""
    return (
        f"rank {one.rank}, {one.total:.2f} ({one.low:.2f} to {one.high:.2f}), first with a"
        f" probability of {chance(one.first)}; strongest in {strong}{rest}"
    )


def _answer(answer: Answer) -> str:
    cited = f" [{answer.cell}]" if answer.cell else ""
    why = f": {answer.reason}" if answer.reason else ""
    return f"{answer.must.text}: {answer.verdict}{why}{cited}"


def commands(one: Candidate) -> list[str]:
    """The ``make bench`` that would measure what is not."""
    made = []
    for answer in one.with_verdict(UNMEASURED):
        choices = {"BACKEND": one.standing.backend, **answer.must.choices}
        made.append("make bench " + " ".join(f"{name}={value}" for name, value in choices.items()))
    return list(dict.fromkeys(made))


def as_json(found: Shortlist) -> str:
    """One object: task, named, out, rest."""
    groups = {"named": found.named, "out": found.out, "rest": found.rest}
    content: dict[str, Any] = {"task": found.task}
    for group, candidates in groups.items():
        content[group] = [
            {
                "backend": one.standing.backend,
                "rank": one.standing.rank or None,
                "total": one.standing.total,
                "answers": [
                    {
                        "must": answer.must.text,
                        "verdict": answer.verdict,
                        "cell": answer.cell,
                        "reason": answer.reason,
                    }
                    for answer in one.answers
                ],
                "met": len(one.with_verdict(MET)),
                "settle": commands(one),
            }
            for one in candidates
        ]
    return json.dumps(content, allow_nan=False) + "\n"
