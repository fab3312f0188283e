"""What ``bench history`` takes; apart from it, for --help must not import pandas."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench.arguments import count, fraction


def add(commands: Any) -> argparse.ArgumentParser:
    """Add ``history`` and its options to the command line."""
    made: argparse.ArgumentParser = commands.add_parser(
        "history",
        help="show every cell's series over many runs, and where it changed",
        description="Read runs of any number of clusters and look for changes in each cell's"
        " series. Exit code 1 where --fail-on holds, 3 where nothing was measured.",
    )
    made.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="results or folders")
    made.add_argument("--metric", default="throughput", help="the figure; default: throughput")
    made.add_argument(
        "--margin", type=fraction, default=0.03, help="smaller changes are not told (0.03)"
    )
    made.add_argument(
        "--fail-on",
        choices=("change", "worse", "never"),
        default="never",
        help="exit with 1 on a change, or one for the worse, in the last --recent runs",
    )
    made.add_argument("--recent", type=count, default=14, metavar="RUNS", help="default: 14")
    made.add_argument("--otava", type=Path, metavar="FOLDER", help="write Apache Otava's files")
    made.add_argument("--json", action="store_true", help="print JSON")
    return made
