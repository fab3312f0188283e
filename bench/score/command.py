"""``bench score``."""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from bench.errors import EXIT_NOTHING, EXIT_OK, UsageError, unknown
from bench.rows.reading import words
from bench.score import advisories, cells, documents, outputs, scores
from bench.score.documents import Weights
from bench.score.scores import Given
from bench.score.update import Question


def run(arguments: argparse.Namespace) -> int:
    """Exit code 3 where no row of the results is usable: the table is the documents' then."""
    question = asked(arguments)
    opinions = documents.opinions()
    if not arguments.results:
        found = {scores.DOCUMENTS: scores.of_documents(opinions, question)}
        shown, code = found[scores.DOCUMENTS], EXIT_OK
    else:
        rows = cells.read(arguments.results, track=arguments.track)
        found = scores.of_rows(rows, opinions, question, given(arguments))
        shown = found[arguments.task]
        code = EXIT_OK if rows["usable"].any() else EXIT_NOTHING
    form = "json" if arguments.json else arguments.format
    sys.stdout.write(outputs.FORMATS[form](found, shown, question))
    return code


def asked(arguments: argparse.Namespace) -> Question:
    """The weights that the options name, and the rest of the question."""
    return Question(
        weights=_weights(arguments),
        trust=arguments.trust_prior,
        draws=arguments.draws,
        seed=arguments.seed,
    )


def given(arguments: argparse.Namespace) -> Given:
    """Prices and advisories, where the options name them."""
    found = []
    if arguments.advisories:
        names = [one.backend for one in documents.opinions()]
        found = advisories.security(names, arguments.advisories)
    return Given(_prices(arguments.prices), found)


def _weights(arguments: argparse.Namespace) -> Weights:
    if arguments.profile and arguments.weights:
        raise UsageError("--profile and --weights both name weights: leave one out")
    if arguments.profile:
        known = documents.profiles()
        if arguments.profile not in known:
            raise unknown("profile", arguments.profile, known)
        base = known[arguments.profile].weights
    else:
        base = documents.weights(*([arguments.weights] if arguments.weights else []))
    return documents.rescaled(base, dict(_assignment(text) for text in arguments.set))


def _assignment(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError as error:
        raise UsageError(f"--set {text!r}: write it as CRITERION=0.3") from error


def _prices(path: Path | Mapping[str, float] | None) -> dict[str, float]:
    """Device's name -> currency units an hour. A pilot file holds them itself."""
    if not isinstance(path, Path):
        return dict(path or {})
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {words(error)}") from error
    for name, price in found.items():
        if isinstance(price, bool) or not isinstance(price, int | float) or not price > 0:
            raise UsageError(f'{path}: write "{name}" = 2.5, the price of an hour above 0')
    return {name: float(price) for name, price in found.items()}
