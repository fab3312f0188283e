"""Rankings as a table, CSV, JSON or markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.rows import schema
from bench.score import TASKS
from bench.score.documents import CRITERIA
from bench.score.evidence import Evidence
from bench.score.scores import DOCUMENTS, Ranking
from bench.score.update import Question, Scored, Standing, chance
from bench.text import plain, unmarked

NOT_MEASURED = "not measured"

Rankings = Mapping[str, Ranking]
Grid = tuple[Sequence[str], list[Sequence[str]]]
"""Header and lines of texts."""


def table(found: Rankings, shown: Ranking, question: Question) -> str:
    """For a terminal or a pipe."""
    out = io.StringIO()
    console = Console(file=out, highlight=False, width=160)
    for title, (header, lines) in _grids(found, shown):
        if title:
            console.print(Text(f"\n{title}"), soft_wrap=True)
        made = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
        for name in header:
            made.add_column(name, justify="left" if name in _LEFT else "right", overflow="fold")
        for line in lines:
            made.add_row(*(Text(plain(part)) for part in line))
        console.print(made)
    for sentence in sentences(found, shown, question):
        console.print(Text(plain(sentence)), soft_wrap=True)
    return out.getvalue()


_LEFT = frozenset({"backend", "rank", "criterion", "not ranked"})


def markdown(found: Rankings, shown: Ranking, question: Question) -> str:
    """The same for a pull request."""
    parts = []
    for title, (header, lines) in _grids(found, shown):
        parts += [f"### {title}" if title else "", ""]
        parts += [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
        parts += [f"| {' | '.join(unmarked(part) for part in line)} |" for line in lines]
        parts.append("")
    return (
        "\n".join([*parts, *(f"- {unmarked(s)}" for s in sentences(found, shown, question))]) + "\n"
    )


def _grids(found: Rankings, shown: Ranking) -> list[tuple[str, Grid]]:
    if shown.task == DOCUMENTS:
        return [("", _opinions(shown))]
    rankings = [(f"Ranking: {task}", _places(found[task])) for task in TASKS]
    return [*rankings, (f"Criteria: {shown.task} (documents > updated)", _criteria(shown))]


def _opinions(ranking: Ranking) -> Grid:
    """The documents' table."""
    header = ("rank", "backend", *CRITERIA, "total", "ranks", "first", "top three")
    return header, [
        (
            str(one.rank),
            one.backend,
            *(f"{one.criteria[name].prior:g}" for name in CRITERIA),
            f"{one.total:.2f}",
            *_chances(one),
        )
        for one in ranking.standings
    ]


def _chances(one: Standing) -> tuple[str, str, str]:
    if one.excluded:
        return "", "", ""
    return f"{one.rank_low}-{one.rank_high}", chance(one.first), chance(one.top_three)


def _places(ranking: Ranking) -> Grid:
    header = ("rank", "backend", "documents", "updated", "change", "interval", "ranks", "first")
    lines: list[Sequence[str]] = [
        (
            str(one.rank or "-"),
            one.backend,
            f"{one.prior:.2f}",
            f"{one.total:.2f}",
            f"{one.total - one.prior:+.2f}",
            f"{one.low:.2f} to {one.high:.2f}",
            *_chances(one),
            one.excluded[:80],
        )
        for one in ranking.standings
    ]
    return (*header, "top three", "not ranked"), lines


def _criteria(ranking: Ranking) -> Grid:
    header = ("backend", *CRITERIA)
    return header, [
        (one.backend, *(_change(one.criteria[name]) for name in CRITERIA))
        for one in ranking.standings
    ]


def _change(one: Scored) -> str:
    if one.measured is None:
        return f"{one.prior:g} {NOT_MEASURED}"
    return f"{one.prior:g} > {one.updated:.1f} ({one.low:.1f}-{one.high:.1f})"


def sentences(found: Rankings, shown: Ranking, question: Question) -> list[str]:
    """What the tables rest on, and what would turn them."""
    weights = ", ".join(f"{name} {question.weights[name]:.3g}" for name in CRITERIA)
    lines = [f"weights: {weights}"]
    if shown.task != DOCUMENTS:
        lines.append(
            f"the documents' score counts as {question.trust:g} measured sub-scores (--trust-prior)"
        )
    if shown.strangers:
        lines.append(
            f"not ranked, for the documents do not know them: {', '.join(shown.strangers)}"
            " (add a line to results/documents/scores.csv)"
        )
    ranked = (shown,) if shown.task == DOCUMENTS else found.values()
    return [*lines, *(f"{ranking.task}: {turned(ranking)}" for ranking in ranked)]


def turned(ranking: Ranking) -> str:
    """The smallest change of one weight that puts another first, in words."""
    leader, turn = ranking.leader, ranking.turn
    if leader.excluded:
        return "nobody can be ranked"
    start = f"{leader.backend} leads with a probability of {chance(leader.first)}"
    if turn is None:
        return f"{start}; no other weight of one criterion would put another first"
    return (
        f"{start}; with {turn.criterion} weighted {turn.needed:.2f} instead of {turn.weight:.2f}"
        f" {turn.winner} would"
    )


def as_csv(found: Rankings, shown: Ranking, question: Question) -> str:
    """A line for each backend and criterion of the shown task, and one for its total."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    figures = ("weight", "prior", "measured", "updated", "change", "low", "high", "sub_scores")
    writer.writerow(["task", "rank", "backend", "criterion", *figures])
    for one in shown.standings:
        place = [shown.task, one.rank or "", schema.field(one.backend)]
        for name in CRITERIA:
            part = one.criteria[name]
            measured = "" if part.measured is None else part.measured
            scored = (part.prior, measured, part.updated, part.change, part.low, part.high)
            sub_scores = len(part.evidence)
            writer.writerow([*place, name, question.weights[name], *scored, sub_scores])
        change = one.total - one.prior
        writer.writerow(
            [*place, "total", 1.0, one.prior, "", one.total, change, one.low, one.high, ""]
        )
    return out.getvalue()


def as_json(found: Rankings, shown: Ranking, question: Question) -> str:
    """A list, the shown task's backends in their order; ``ranks`` has the other tasks' places."""
    return json.dumps([_standing(one, found, shown) for one in shown.standings], allow_nan=False)


def _standing(one: Standing, found: Rankings, shown: Ranking) -> dict[str, Any]:
    return {
        "backend": one.backend,
        "name": one.name,
        "task": shown.task,
        "rank": one.rank or None,
        "total": one.total,
        "prior_total": one.prior,
        "low": one.low,
        "high": one.high,
        "rank_low": one.rank_low or None,
        "rank_high": one.rank_high or None,
        "p_first": one.first,
        "p_top_three": one.top_three,
        "excluded": one.excluded,
        "ranks": {
            ranking.task: other.rank or None
            for ranking in found.values()
            for other in ranking.standings
            if other.backend == one.backend
        },
        "criteria": {name: _scored(part) for name, part in one.criteria.items()},
    }


def _scored(one: Scored) -> dict[str, Any]:
    return {
        "prior": one.prior,
        "measured": one.measured,
        "updated": one.updated,
        "change": one.change,
        "low": one.low,
        "high": one.high,
        "evidence": [_evidence(each) for each in one.evidence],
    }


def _evidence(one: Evidence) -> dict[str, Any]:
    return {
        "name": one.subject.name,
        "value": one.value,
        "unit": one.unit,
        "score": 10 * one.share,
        "low": 10 * one.low,
        "high": 10 * one.high,
        "rests_on": list(one.subject.rests_on),
    }


Format = Callable[[Rankings, Ranking, Question], str]
FORMATS: Mapping[str, Format] = {
    "table": table,
    "csv": as_csv,
    "md": markdown,
    "json": as_json,
}
