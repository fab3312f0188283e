"""What ``bench report`` takes; apart from it, for --help must not import pandas."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench import pilot_options
from bench.score import TASKS, WHOLE
from bench.score.options import add_must, add_weights


def add(commands: Any) -> argparse.ArgumentParser:
    """Add ``report`` and its options to the command line."""
    made: argparse.ArgumentParser = commands.add_parser(
        "report",
        help="one self-contained HTML page of results and scores",
        description="Write one HTML file that needs no network: ranking, shortlist, figures with"
        " intervals, the export ladder, every refusal with its reason. --format md is a summary for"
        " pull requests; --plots writes the charts as SVG and PNG without a browser.",
    )
    made.add_argument("results", type=Path, nargs="+", metavar="RESULTS")
    made.add_argument("-o", "--out", type=Path, metavar="FILE", help="default: report.html")
    made.add_argument("--format", choices=("html", "md"), default="html")
    made.add_argument("--plots", type=Path, metavar="FOLDER", help="also the charts as files")
    made.add_argument("--task", choices=TASKS, default=WHOLE, help="which ranking leads the page")
    add_must(made)
    add_weights(made)
    return made


def of(results: Path, *, spec: Path | None = None) -> argparse.Namespace:
    """What ``bench report`` would be asked of one file: the page that a run ends with."""
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers())
    given = ["--spec", str(spec)] if spec else []
    return pilot_options.parsed(parser, ["report", str(results), *given])
