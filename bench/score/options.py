"""What ``bench score`` takes; apart from it, for --help must not import pandas."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench import pilot_options
from bench.arguments import count
from bench.grid import TRACKS
from bench.score import TASKS, WHOLE
from bench.score.limits import LIMITS


def add(commands: Any) -> argparse.ArgumentParser:
    """Add ``score`` and its options to the command line."""
    made: argparse.ArgumentParser = commands.add_parser(
        "score",
        help="the documents' scoring table, corrected by what was measured",
        description="Without RESULTS the documents' own table. With results files or folders,"
        " seven criteria from 0 to 10 for each backend: what the documents say, what was measured,"
        " and both together, with intervals and how probable each rank is.",
    )
    made.add_argument("results", type=Path, nargs="*", metavar="RESULTS")
    add_weights(made)
    made.add_argument(
        "--task", choices=TASKS, default=WHOLE, help="whose criteria are shown (end-to-end)"
    )
    made.add_argument("--format", choices=("table", "csv", "md"), default="table")
    made.add_argument(
        "--json", action="store_true", help="print JSON: a list, one object a backend"
    )
    return made


def add_shortlist(commands: Any) -> argparse.ArgumentParser:
    """Add ``shortlist`` and its options to the command line."""
    made: argparse.ArgumentParser = commands.add_parser(
        "shortlist",
        help="two or three names, the reasons, and what would settle the rest",
        description="Who fulfils every --must, ranked by score, with the rows that say so; who is"
        " disqualified and by what; and the command that measures what is not yet.",
    )
    made.add_argument("results", type=Path, nargs="+", metavar="RESULTS")
    add_must(made)
    add_weights(made)
    made.add_argument("--json", action="store_true", help="print JSON")
    return made


def add_must(made: argparse.ArgumentParser) -> None:
    """What a shortlist needs of each name."""
    made.add_argument(
        "--must",
        action="append",
        default=[],
        metavar="WHAT",
        help="train, fine-tune, llm, lora, infer, generate, maintained, export:onnx, device:cuda,"
        " precision:bf16, mode:compiled (repeatable)",
    )
    for name, of in LIMITS.items():
        made.add_argument(
            f"--{name.replace('_', '-')}",
            type=positive,
            metavar=of.unit.upper(),
            help=f"the most {of.words}",
        )


def add_weights(made: argparse.ArgumentParser) -> None:
    """What ``score``, ``shortlist`` and ``report`` have in common."""
    made.add_argument("--profile", metavar="NAME", help="weights of those who ask: smb, edge, ...")
    made.add_argument("--weights", type=Path, metavar="FILE", help="CSV: criterion,weight")
    made.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="CRITERION=WEIGHT",
        help="one weight from 0 to 1; the others are rescaled (repeatable)",
    )
    made.add_argument(
        "--trust-prior",
        type=pseudo,
        default=2.0,
        metavar="K",
        help="how many measured sub-scores a document's score is worth (2)",
    )
    made.add_argument(
        "--track", choices=TRACKS, default=TRACKS[0], help="whose speed counts (out-of-box)"
    )
    made.add_argument("--draws", type=count, default=10_000, help="of the Monte Carlo (10,000)")
    made.add_argument("--seed", type=int, default=1, help="of the Monte Carlo (1)")
    made.add_argument(
        "--advisories", type=Path, metavar="PATH", help="a file or folder of advisories in OSV form"
    )
    made.add_argument("--prices", type=Path, metavar="FILE", help="TOML: device = price an hour")
    pilot_options.add(made, pilot_options.of_judging)


def positive(text: str) -> float:
    """A number above 0."""
    value = pseudo(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def pseudo(text: str) -> float:
    """A number from 0 up."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 up, such as 2")
    return value


def add_advisories(commands: Any) -> argparse.ArgumentParser:
    """Add ``advisories`` and its options to the command line."""
    made: argparse.ArgumentParser = commands.add_parser(
        "advisories",
        help="ask the advisory databases about every lock, and keep the answer as a file",
        description="Asks through pip-audit, which needs a network. The file is for"
        " bench score --advisories.",
    )
    made.add_argument("-o", "--out", type=Path, help="the file; default: advisories-<day>.json")
    made.add_argument(
        "--service", choices=("osv", "pypi"), default="osv", help="whom to ask: osv (default), pypi"
    )
    made.add_argument("--osv-url", default="", metavar="URL", help="a site's own mirror of OSV")
    return made
