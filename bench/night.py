"""``bench night``: the folder of nights that a scheduled job keeps, and its report.

``nights/`` holds one results file a night. The report compares the last with the one before,
and the history over all; ``issue.md`` is there only if something changed, ready to be filed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.compare import frame, outputs, report, sides
from bench.compare.metrics import THROUGHPUT
from bench.compare.verdicts import How
from bench.errors import EXIT_NO, EXIT_OK, UsageError
from bench.history import changes, series
from bench.history.report import Told, lines

FAILING = ("slower", "larger", "lost", "parity")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 where an issue was written, for a job that should be red then."""
    folder: Path = arguments.folder
    nights = sorted(folder.glob("*.csv"))
    if not nights:
        raise UsageError(f"{folder} holds no nights (*.csv): measure one with make night")
    parts = [f"# Night {nights[-1].stem}", ""]
    stops = False
    if len(nights) > 1:
        base, *others = sides.of_paths(nights[-2:])
        found = report.made(base, others, How())
        parts.append(outputs.markdown(found, failing=FAILING))
        stops = bool(len(found.failing(FAILING)))
    else:
        parts.append("This is the first night: there is nothing to compare it with yet.\n")
    parts += ["## History", "", "```", *_history(nights), "```", ""]
    text = "\n".join(parts)
    (folder / "report.md").write_text(text, encoding="utf-8")
    issue = folder / "issue.md"
    issue.unlink(missing_ok=True)
    if stops:
        issue.write_text(f"{_title(nights[-1])}\n\n{text}", encoding="utf-8")
    return EXIT_NO if stops else EXIT_OK


def _title(night: Path) -> str:
    return f"The pilot of {night.stem} is worse than the one before"


def _history(nights: Sequence[Path]) -> list[str]:
    told = [
        Told(one, changes.find(one.nights["log"].to_numpy()))
        for one in series.of(frame.read(nights), THROUGHPUT)
    ]
    # A fence of markdown ends at three backticks, wherever they come from.
    return [line.replace("```", "'''") for line in lines(told, THROUGHPUT)]
