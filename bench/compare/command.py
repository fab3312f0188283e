"""``bench compare``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import grid
from bench.compare import outputs, report, sides
from bench.compare.metrics import BY_NAME, RUNG
from bench.compare.report import FAIL_ON
from bench.compare.verdicts import How
from bench.errors import UsageError


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 where the gate stops, 3 where nothing could be compared."""
    failing = grid.choose("--fail-on word", arguments.fail_on, FAIL_ON)
    how = How(
        level=arguments.level,
        margin=arguments.margin,
        metrics=tuple(grid.choose("figure", arguments.metric, (*BY_NAME, RUNG))),
        ignored=tuple(arguments.ignore_setting),
    )
    base, *others = _sides(arguments)
    found = report.made(base, others, how)
    text = outputs.FORMATS[arguments.format](found, failing=failing)
    if arguments.out:
        _write(arguments.out, text)
        text = outputs.table(found, failing=failing) if arguments.format != "json" else ""
    sys.stdout.write(text)
    return found.exit_code(failing)


def _sides(arguments: argparse.Namespace) -> list[sides.Side]:
    paths = [arguments.base_path, *arguments.new]
    if arguments.between:
        return sides.between(arguments.between, paths, base=arguments.base)
    if arguments.base:
        raise UsageError("--base goes with --between; without it the first path is the base")
    if not arguments.new:
        raise UsageError(
            "give BASE and NEW, or one path with --between AXIS, such as --between backend"
        )
    return sides.of_paths(paths)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; name another --out") from error
