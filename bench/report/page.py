"""The page: facts and charts put into the template. Nothing is fetched, then or later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import vl_convert

from bench.capabilities import CAPABILITIES
from bench.report import charts, figures
from bench.rows.schema import RUNGS, STATUSES
from bench.score import ASKED, shortlist
from bench.score.documents import CRITERIA
from bench.score.outputs import sentences
from bench.score.scores import Ranking
from bench.score.shortlist import Shortlist
from bench.score.update import Question, Standing, chance

HERE = Path(__file__).parent
SECTIONS = {
    "ranking": "Ranking",
    "shortlist": "Shortlist",
    "throughput": "Throughput",
    "memory": "Memory",
    "first-step": "First step",
    "cells": "Cells",
    "language": "Language models",
    "targets": "Time to accuracy",
    "ladder": "Export ladder",
    "capabilities": "Capabilities",
    "documents": "Documents against measured",
    "clusters": "Clusters",
    "history": "History",
    "refused": "Refused and failed",
    "machine": "Machines",
    "how": "How",
}


@dataclass(frozen=True)
class Content:
    """What a page is made of. rows: of ``cells.read``; clusters, history: texts, each a block."""

    rows: pd.DataFrame
    rankings: Mapping[str, Ranking]
    shown: Ranking
    question: Question
    shortlist: Shortlist
    sources: Sequence[str]
    clusters: Sequence[str] = ()
    history: Sequence[str] = ()


def render(content: Content) -> str:
    """The whole page as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"figure": figure, "chance": chance}
    found = figures.lines(content.rows[content.rows["task"] != ASKED])
    asked = figures.lines(content.rows[content.rows["task"] == ASKED])
    drawn = charts.all_of(found, content.rankings)
    columns, grid = figures.ladder(found)
    return environment.get_template("page.html.j2").render(
        answer=answer(content.shown),
        counts=counts(content.rows),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        sources=content.sources,
        sections=SECTIONS.items(),
        tasks=list(content.rankings),
        shown=content.shown,
        criteria=CRITERIA,
        weights=content.question.weights,
        sentences=sentences(content.rankings, content.shown, content.question),
        shortlist=shortlist.lines(content.shortlist),
        charts=drawn,
        limited=_limited(found),
        lines=found,
        phases=figures.PHASES,
        language=figures.language(found),
        decoder=figures.DECODER,
        targets=figures.targets(content.rows),
        ladder_columns=columns,
        ladder=grid,
        rungs=RUNGS,
        capabilities=CAPABILITIES,
        asked=figures.asked(asked),
        clusters=content.clusters,
        history=content.history,
        refusals=figures.refusals(content.rows),
        machines=figures.machines(content.rows),
        settings=list(figures.settings(content.rows)),
        data=figures.script(_data(content, drawn)),
        css=(HERE / "page.css").read_text(encoding="utf-8"),
        js=(HERE / "page.js").read_text(encoding="utf-8"),
        bundle=_bundle(),
    )


def answer(ranking: Ranking) -> str:
    """The first sentence: who leads, how surely, and who may."""
    able = [one for one in ranking.standings if not one.excluded]
    if not able:
        return f"nobody can be ranked ({ranking.task})"
    leader, *others = able
    rivals = [one.backend for one in others if one.first >= 0.05]
    also = f"; {' or '.join(rivals)} may" if rivals else ""
    return (
        f"{leader.name} leads ({ranking.task}, {leader.total:.2f} of 10) with a probability of"
        f" {chance(leader.first)}{also}"
    )


def counts(rows: pd.DataFrame) -> str:
    """``40 rows: 37 ok, 2 unsupported, 1 timeout``."""
    found = Counter(rows["status"].astype(str))
    parts = [f"{found[status]} {status}" for status in STATUSES if found[status]]
    return f"{len(rows)} rows: {', '.join(parts)}"


def figure(value: float | None) -> str:
    """Four significant digits; what is not known is blank."""
    return "" if value is None else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _limited(found: Sequence[figures.Line]) -> str:
    more = len({line.contest for line in found}) - charts.MOST
    return f"The first {charts.MOST} are drawn; the table has {more} more." if more > 0 else ""


def _data(content: Content, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """What the page's script needs."""
    return {
        "charts": {name: chart.to_dict() for name, chart in drawn.items()},
        "weights": dict(content.question.weights),
        "task": content.shown.task,
        "standings": {
            task: [_standing(one) for one in ranking.standings]
            for task, ranking in content.rankings.items()
        },
        "rows": figures.raw(content.rows),
    }


def _standing(one: Standing) -> dict[str, Any]:
    return {
        "backend": one.backend,
        "excluded": one.excluded,
        "updated": {name: part.updated for name, part in one.criteria.items()},
        "prior": {name: part.prior for name, part in one.criteria.items()},
    }


def _bundle() -> str:
    """Vega-Lite and its runtime, as vl-convert ships them; nothing in it ends the script."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).replace(
        "</script", "<\\/script"
    )
