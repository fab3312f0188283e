"""What ``bench compare`` takes; apart from it, for --help must not import pandas."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench.arguments import fraction

AXES = "backend, mode, precision, device, batch, cluster, host, backend_version, git_rev, run_id"


def add(commands: Any) -> argparse.ArgumentParser:
    """Add ``compare`` and its options to the command line."""
    made: argparse.ArgumentParser = commands.add_parser(
        "compare",
        help="say what is faster, slower, the same, or cannot be told",
        description="Compare results files or folders. The first is the base; cells are matched by"
        " their id. With --between, cells within the given files are matched that differ in one"
        " thing only. Exit code 1 where --fail-on holds, 3 where nothing could be compared.",
    )
    made.add_argument("base_path", type=Path, metavar="BASE", help="a results file or a folder")
    made.add_argument("new", type=Path, nargs="*", metavar="NEW", help="what to compare with it")
    made.add_argument("--between", metavar="AXIS", help=f"within the files: {AXES}")
    made.add_argument("--base", help="with --between: the base's value; default: the first")
    made.add_argument(
        "--margin", type=fraction, default=0.03, help="how far apart is still the same (0.03)"
    )
    made.add_argument(
        "--level", type=fraction, default=0.01, help="share of false discoveries (0.01)"
    )
    made.add_argument("--metric", default="all", help="figures to compare; default: all")
    made.add_argument(
        "--ignore-setting",
        action="append",
        default=[],
        metavar="NAME",
        help="a setting that may differ; may be given several times",
    )
    made.add_argument(
        "--fail-on",
        default="slower,lost,parity",
        metavar="WORDS",
        help="exit with 1 on these verdicts (default: slower,lost,parity)",
    )
    made.add_argument(
        "--format", choices=("table", "csv", "json", "markdown", "junit"), default="table"
    )
    made.add_argument("--json", dest="format", action="store_const", const="json", help="as JSON")
    made.add_argument("--out", type=Path, help="write there; the table is still printed")
    return made
