"""``bench report``: the page, a summary in markdown, or the plots as files."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.compare import outputs as compared
from bench.compare import report as comparison
from bench.compare import sides
from bench.compare.metrics import THROUGHPUT
from bench.compare.verdicts import How
from bench.errors import EXIT_OK, UsageError
from bench.history import changes, series
from bench.history.report import Told
from bench.history.report import lines as night_lines
from bench.report import charts, figures, page
from bench.score import cells, documents, musts, outputs, scores, shortlist
from bench.score import command as scoring
from bench.text import unmarked

SHOWN_SERIES = 200


def run(arguments: argparse.Namespace) -> int:
    content = _content(arguments)
    if arguments.plots:
        _plots(arguments.plots, content)
    if arguments.format == "md":
        text = outputs.markdown(content.rankings, content.shown, content.question)
        head = unmarked(page.answer(content.shown))
        text = f"## {head}\n\n{page.counts(content.rows)}\n\n{text}"
        if not arguments.out:
            sys.stdout.write(text)
            return EXIT_OK
    else:
        text = page.render(content)
    out = arguments.out or Path("report.html")
    _write(out, text.encode())
    print(f"page: {out}" if arguments.format == "html" else f"summary: {out}")
    return EXIT_OK


def _content(arguments: argparse.Namespace) -> page.Content:
    """Everything that the page says."""
    paths = arguments.results
    rows = cells.read(paths, track=arguments.track)
    question = scoring.asked(arguments)
    rankings = scores.of_rows(rows, documents.opinions(), question, scoring.given(arguments))
    asked = [musts.parsed(text) for text in arguments.must]
    several = rows["cluster"].nunique() > 1
    told = [
        Told(one, changes.find(one.nights["log"].to_numpy()))
        for one in series.of(rows, THROUGHPUT)
        if len(one.nights) > 1
    ]
    return page.Content(
        rows=rows,
        rankings=rankings,
        shown=rankings[arguments.task],
        question=question,
        shortlist=shortlist.chosen(rows, rankings, asked, limits=shortlist.limits_of(arguments)),
        sources=[str(path) for path in paths],
        clusters=list(_clusters(paths)) if several else (),
        history=list(night_lines(told[:SHOWN_SERIES], THROUGHPUT)),
    )


def beside(arguments: argparse.Namespace) -> Iterator[str]:
    """Write the page of one results file beside it; yields what a run says at its end.

    arguments: those of ``bench report`` with that file.
    """
    content = _content(arguments)
    (path,) = arguments.results
    measured = set(content.rows["backend"])
    for ranking in content.rankings.values():
        ranked = (one for one in ranking.standings if one.backend in measured and not one.excluded)
        places = [f"{one.backend} {one.total:.2f}" for one in ranked]
        yield f"updated scores, {ranking.task}: {', '.join(places) or 'nobody'}"
    out = path.with_suffix(".html")
    _write(out, page.render(content).encode())
    yield f"page: {out}"


def _clusters(paths: Sequence[Path]) -> list[str]:
    base, *others = sides.between("cluster", paths, base=None)
    found = comparison.made(base, others, How(metrics=(THROUGHPUT.name,)))
    return [compared.table(found, failing=())]


def _plots(folder: Path, content: page.Content) -> None:
    drawn = charts.all_of(figures.lines(content.rows), content.rankings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}; name another") from error
    for name, chart in drawn.items():
        for form, data in (("svg", io.StringIO()), ("png", io.BytesIO())):
            chart.save(data, format=form)
            text = data.getvalue()
            _write(folder / f"{name}.{form}", text.encode() if isinstance(text, str) else text)
    print(f"plots: {folder} ({len(drawn)} charts, each as SVG and PNG)")


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; name another") from error
