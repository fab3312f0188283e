"""The options of ``bench check-backend``."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> argparse.ArgumentParser:
    """Add ``check-backend``: does one adapter keep what ``bench/contract.py`` promises?"""
    made: argparse.ArgumentParser = commands.add_parser(
        "check-backend",
        help="check whether a backend keeps the contract, and print what is missing",
        description="Asks a backend, of this project or of another package, for everything that"
        " the contract promises, on tiny models in real workers. Exit code 0: all that is required"
        " holds; 1: something is missing or wrong.",
    )
    made.add_argument("backend", help="one backend's name (bench backends lists them)")
    made.add_argument("--device", default="cpu", help="cpu (default), cuda, rocm, tpu; cuda:1")
    made.add_argument(
        "--python", action="append", default=[], metavar="BACKEND=PATH", help="as for run"
    )
    made.add_argument("--json", action="store_true", help="print the findings as JSON")
    return made
