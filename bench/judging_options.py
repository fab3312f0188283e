"""The options of the commands that judge adapters: ``fairness`` and ``parity``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench import grid, options, pilot_options
from bench.arguments import count


def add_fairness(commands: Any) -> argparse.ArgumentParser:
    """Add ``fairness`` and its options to the command line."""
    fair: argparse.ArgumentParser = commands.add_parser(
        "fairness", help="measure each adapter's model against its framework's own public one"
    )
    fair.add_argument("--backend", default="all", help="a comma list or all")
    fair.add_argument("--model", default="all", help="cnn, transformer or all")
    fair.add_argument("--processes", type=count, default=5, help="fresh processes each (5)")
    fair.add_argument("--rounds", type=count, default=8, help="rounds of A B B A in each (8)")
    fair.add_argument(
        "--python", action="append", default=[], metavar="BACKEND=PATH", help="as for run"
    )
    fair.add_argument("--track", default="out-of-box", choices=grid.TRACKS)
    fair.add_argument("--out", type=Path, help="the CSV to write")
    return fair


def add_parity(commands: Any) -> argparse.ArgumentParser:
    """Add ``parity``: which cells compute and train as the reference does, without timing them."""
    made: argparse.ArgumentParser = commands.add_parser(
        "parity",
        help="ask only whether backends compute and train alike; nothing is timed",
        description="Run the parity gate of each training and generating cell, one by one, at the"
        " reference's batch. Minutes, where timing would take hours: before a large pilot is paid"
        " for. Exit code 1 if a cell fails, 3 if none passes.",
    )
    options.add_cells(made.add_argument_group("what to ask"))
    how = made.add_argument_group("how")
    how.add_argument(
        "--python", action="append", default=[], metavar="BACKEND=PATH", help="as for run"
    )
    how.add_argument(
        "--timeout", type=float, default=3600.0, metavar="SECONDS", help="of a cell (3600)"
    )
    how.add_argument("--allow-busy", action="store_true", help="on a device that others use, too")
    how.add_argument("--out", type=Path, metavar="FILE", help="add a line of JSON for each cell")
    how.add_argument("--json", action="store_true", help="print these lines")
    made.set_defaults(repeats=1, target=None, nodes=1)
    pilot_options.add(made, pilot_options.of_run)
    return made
