"""Charts as Altair objects: the page embeds them, and ``--plots`` writes them as SVG and PNG. Pure.

Colours are of Okabe and Ito's palette (2008), which the colour-blind can tell apart; no chart needs
them to be read. Altair makes charts of each other by operators that types cannot follow: a chart is
Any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import altair as alt
import pandas as pd

from bench.report.figures import PHASES, Line
from bench.score.documents import CRITERIA
from bench.score.scores import Ranking

BLUE, ORANGE, GREEN, SKY = "#0072B2", "#E69F00", "#009E73", "#56B4E9"
_PHASE_NAMES = dict(
    zip(PHASES, ("1 import", "2 build", "3 compile", "4 first step, running"), strict=True)
)
MOST = 24
"""Contests in one chart; the table has all of them."""

WIDTH = 260


def ranking(found: Ranking) -> Any:
    """Updated totals with their intervals, the documents' as hollow marks."""
    data = pd.DataFrame(
        [
            {
                "backend": one.backend,
                "updated": one.total,
                "documents": one.prior,
                "low": one.low,
                "high": one.high,
            }
            for one in found.standings
            if not one.excluded
        ],
        columns=["backend", "updated", "documents", "low", "high"],
    )
    base = alt.Chart(data).encode(
        y=alt.Y("backend:N", sort=_by("updated", "descending"), title=None)
    )
    scale = alt.Scale(zero=False)
    axis = alt.X("low:Q", title=f"total of 10 ({found.task})", scale=scale)
    return (
        base.mark_rule(color=BLUE, strokeWidth=2).encode(x=axis, x2="high:Q")
        + base.mark_point(filled=True, color=BLUE, size=70).encode(
            x="updated:Q", tooltip=["backend", _figure("updated"), _figure("low"), _figure("high")]
        )
        + base.mark_point(color=ORANGE, shape="diamond", size=70).encode(
            x="documents:Q", tooltip=["backend", _figure("documents")]
        )
    ).properties(width=560)


def _by(field: str, order: Literal["ascending", "descending"]) -> alt.EncodingSortField:
    return alt.EncodingSortField(field, op="max", order=order)


def _figure(name: str) -> alt.Tooltip:
    return alt.Tooltip(f"{name}:Q", format=".3~g")


def criteria(found: Ranking) -> Any:
    """Documents against measured, criterion by criterion."""
    data = pd.DataFrame(
        [
            {
                "backend": one.backend,
                "criterion": name,
                "documents": one.criteria[name].prior,
                "updated": one.criteria[name].updated,
                "low": one.criteria[name].low,
                "high": one.criteria[name].high,
                "place": place,
            }
            for place, one in enumerate(found.standings)
            for name in CRITERIA
        ]
    )
    base = alt.Chart().encode(y=alt.Y("backend:N", sort=_by("place", "ascending"), title=None))
    scale = alt.Scale(domain=[0, 10])
    layers = (
        base.mark_rule(color=BLUE).encode(x=alt.X("low:Q", title=None, scale=scale), x2="high:Q")
        + base.mark_point(filled=True, color=BLUE).encode(
            x=alt.X("updated:Q", scale=scale),
            tooltip=["backend", "criterion", _figure("updated"), _figure("documents")],
        )
        + base.mark_point(color=ORANGE, shape="diamond").encode(x="documents:Q")
    ).properties(width=150)
    header = alt.Header(title=None)
    return alt.layer(*layers.layer, data=data).facet(
        facet=alt.Facet("criterion:N", sort=list(CRITERIA), header=header), columns=4
    )


def spans(found: Sequence[Line], what: str, title: str) -> Any:
    """``rate`` or ``memory`` of every cell with its interval, a panel a contest; the best first."""
    several = len({line.cluster for line in found}) > 1
    order = _by("value", "descending" if what == "rate" else "ascending")
    data = pd.DataFrame(
        [
            {
                "contest": line.contest,
                "cell": _short(line, several=several),
                "value": span.value,
                "low": span.low or span.value,
                "high": span.high or span.value,
                "processes": line.n,
            }
            for line in _shown(found, what)
            if (span := getattr(line, what)).value is not None
        ]
    )
    if data.empty:
        return None
    base = alt.Chart().encode(y=alt.Y("cell:N", sort=order, title=None))
    layers = base.mark_bar(color=SKY, height=9).encode(
        x=alt.X("value:Q", title=title),
        tooltip=["cell", _figure("value"), _figure("low"), _figure("high"), "processes:Q"],
    ) + base.mark_rule(strokeWidth=2, color=BLUE).encode(x=alt.X("low:Q", title=title), x2="high:Q")
    return (
        alt.layer(*layers.properties(width=WIDTH).layer, data=data)
        .facet(facet=alt.Facet("contest:N", header=_wrapped()), columns=3)
        .resolve_scale(x="independent", y="independent")
    )


def first_steps(found: Sequence[Line]) -> Any:
    """Seconds from a cold process to the first finished training step, split."""
    several = len({line.cluster for line in found}) > 1
    data = pd.DataFrame(
        [
            {
                "contest": line.contest,
                "cell": _short(line, several=several),
                "phase": _PHASE_NAMES[name],
                "seconds": seconds,
            }
            for line in _shown(found, "rate")
            if line.seconds["first_step_s"] is not None
            for name, seconds in _split(line.seconds).items()
        ]
    )
    if data.empty:
        return None
    bars = (
        alt.Chart(data)
        .mark_bar(height=9)
        .encode(
            y=alt.Y("cell:N", title=None),
            x=alt.X("seconds:Q", title="s"),
            color=alt.Color(
                "phase:N",
                scale=alt.Scale(
                    domain=list(_PHASE_NAMES.values()), range=[BLUE, SKY, ORANGE, GREEN]
                ),
                legend=alt.Legend(orient="top", title=None),
            ),
            tooltip=["cell", "phase", _figure("seconds")],
        )
        .properties(width=WIDTH)
    )
    return bars.facet(facet=alt.Facet("contest:N", header=_wrapped()), columns=3).resolve_scale(
        x="independent", y="independent"
    )


def _split(seconds: Mapping[str, float | None]) -> dict[str, float]:
    """The first step holds the compiling: what is left of it is running."""
    known = {name: seconds[name] or 0.0 for name in PHASES}
    known["first_step_s"] = max(known["first_step_s"] - known["compile_s"], 0.0)
    return known


def _shown(found: Sequence[Line], what: str) -> list[Line]:
    """Lines of the first contests that have anything to show."""
    able = [line for line in found if what != "rate" or line.rate.value is not None]
    contests = list(dict.fromkeys(line.contest for line in able))[:MOST]
    return [line for line in able if line.contest in contests]


def _short(line: Line, *, several: bool) -> str:
    """Backend and mode; the cluster where there are several."""
    return " ".join(filter(None, (line.backend, line.mode, line.cluster if several else "")))


def _wrapped() -> alt.Header:
    return alt.Header(title=None, labelLimit=WIDTH + 60, labelFontSize=10)


def all_of(found: Sequence[Line], rankings: Mapping[str, Ranking]) -> dict[str, Any]:
    """Name -> chart, of those that have something to show."""
    whole = list(rankings.values())[-1]
    made = {
        "ranking": ranking(whole),
        "criteria": criteria(whole),
        "throughput": spans(found, "rate", "samples/s"),
        "memory": spans(found, "memory", "peak MiB"),
        "first-step": first_steps(found),
    }
    return {name: chart for name, chart in made.items() if chart is not None}
