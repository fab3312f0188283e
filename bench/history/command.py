"""``bench history``."""

from __future__ import annotations

import argparse
import sys

from bench import grid
from bench.compare import frame
from bench.compare.metrics import BY_NAME
from bench.errors import EXIT_NO, EXIT_NOTHING, EXIT_OK
from bench.history import changes, report, series
from bench.history.report import Told

WORSE = ("slower", "larger")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 on a change in the last ``--recent`` nights; 3 where there are no series."""
    (name,) = grid.choose("figure", arguments.metric, BY_NAME)[:1]
    metric = BY_NAME[name]
    told = [
        Told(one, changes.find(one.nights["log"].to_numpy(), margin=arguments.margin))
        for one in series.of(frame.read(arguments.paths), metric)
    ]
    if arguments.otava:
        report.write_otava(arguments.otava, told, metric)
    if arguments.json:
        sys.stdout.write(report.as_json(told, metric) + "\n")
    else:
        for line in report.lines(told, metric):
            sys.stdout.write(line + "\n")
    if not told:
        return EXIT_NOTHING
    recent = [
        metric.more if change.log_ratio > 0 else metric.less
        for one in told
        for change in one.found.changes
        if change.at >= len(one.series.nights) - arguments.recent
    ]
    stops = {
        "change": bool(recent),
        "worse": any(word in WORSE for word in recent),
        "never": False,
    }
    return EXIT_NO if stops[arguments.fail_on] else EXIT_OK
