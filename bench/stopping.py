"""When a pilot has repeated enough: its ratios are known well enough, or its time is spent.

The rule looks at the widths of the intervals only, never at the ratios: for normal errors the mean
and the standard deviation of a sample are independent, so stopping on the width does not bend the
ratio. What it does bend is the width itself, which is smallest where the sample happens to look
quiet: LEAST repeats bound that, and ``stats.EARLY`` makes up for the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.compare import pilots, sides
from bench.compare.pilots import AXIS
from bench.grid import Task
from bench.rows.files import ResultFile

LEAST = 8
"""Processes of each side before an interval's width is believed."""


@dataclass
class Target:
    """precision: half the width of every ratio's interval, as a fraction; budget_s: for all."""

    precision: float
    budget_s: float

    def next(self, tasks: Sequence[Task], results: ResultFile) -> tuple[list[Task], str]:
        """The next repeat's tasks, and why there are any or none."""
        known = widths(results.path)
        if not known:
            return [], "no two cells to compare with each other: one repeat of each"
        wide = {cell for cell, width in known.items() if width > self.precision}
        done = f"{len(known) - len(wide)} of {len(known)} ratios are known to {self.precision:.1%}"
        if not wide:
            return [], done
        repeats = max(row["repeat"] for row in results.rows)
        # From the rows, for a run that is resumed has spent what they took.
        spent = sum(row["wall_s"] or 0.0 for row in results.rows)
        if spent + spent / repeats > self.budget_s:
            return [], f"{done}; another repeat would pass {self.budget_s / 60:.0f} minutes"
        again = [task for task in tasks if sides.key(task.cell.id, AXIS) in wide]
        return [replace(task, repeat=repeats + 1) for task in again], done


def widths(path: Path) -> dict[str, float]:
    """Half the width of the widest interval among a cell's backends, by the cell's key.

    As a fraction of the ratio; infinite below LEAST processes a side.
    """
    lines = pilots.throughputs(path)
    lines = lines[lines["reason"] == ""]
    half = (lines["high"] / lines["low"]).pow(0.5) - 1
    enough = lines[["base_n", "new_n"]].min(axis=1) >= LEAST
    found: dict[str, float] = half.where(enough, math.inf).groupby(lines["cell"]).max().to_dict()
    return found
