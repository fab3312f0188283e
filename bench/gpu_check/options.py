"""The options of ``bench gpu-check``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

OUT = Path("results/local/gpu-check.csv")
PARTS = (1, 2, 3, 4)


def add(commands: Any) -> argparse.ArgumentParser:
    """Add ``gpu-check``: whose rows and answers go to one file, whichever parts are run."""
    check: argparse.ArgumentParser = commands.add_parser(
        "gpu-check",
        help="check what this program says of a GPU: waits, memory, energy, precisions, speed",
        description="Each part takes at most 9 minutes on one data-centre GPU. Exit code 0: all"
        " that was checked holds; 1: something does not; 3: nothing was checked.",
    )
    check.add_argument("--part", type=parts, default=PARTS, help="1 to 4, by commas, or all (all)")
    check.add_argument("--device", default="cuda", help="cuda (default), rocm, cpu; cuda:1")
    check.add_argument("--backend", default="all", help="default: all with a lock for the device")
    check.add_argument("--workload", default="all", help="cnn, transformer, export; default: all")
    check.add_argument("--size", default="base", help="of what is measured; default: base")
    check.add_argument("--out", type=Path, default=OUT, help=f"the CSV; default: {OUT}")
    check.add_argument(
        "--python", action="append", default=[], metavar="BACKEND=PATH", help="as for run"
    )
    check.add_argument("--setting", action="append", default=[], metavar="KEY=VALUE")
    check.add_argument("--minutes", type=float, help="of each part, in place of its own")
    check.add_argument("--timeout", type=float, metavar="SECONDS", help="deadline of a cell")
    check.add_argument("--allow-busy", action="store_true", help="as for run")
    check.add_argument("-v", "--verbose", action="store_true", help="as for run")
    return check


def parts(text: str) -> tuple[int, ...]:
    """``all``, or numbers by commas."""
    if text == "all":
        return PARTS
    known = {str(part): part for part in PARTS}
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no part: 1 to {PARTS[-1]}, or all")
    return tuple(known[name] for name in names)
