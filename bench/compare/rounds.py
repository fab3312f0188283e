"""Raw times beside the CSVs: what two cells of a fleet did in the same rounds.

The median of the rounds' log-ratios stood up better to neighbours than the ratio of the medians:
a standard deviation of 0.057 against 0.073 between workers on a shared machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.errors import UsageError
from bench.rows import files

TURNS = 2
"""Blocks of a worker in one round: a round goes through the fleet and back again."""


class Rounds:
    """Times of the rows of two sides; a file is read when the first of its rows is asked for."""

    def __init__(self, base: pd.DataFrame, new: pd.DataFrame) -> None:
        self.sides = {"base": base, "new": new}
        self.files: dict[str, dict[tuple[str, int], dict[str, Any]]] = {}

    def sharpened(self, pairs: pd.DataFrame, differences: np.ndarray) -> np.ndarray:
        """The pairs' differences, from their rounds where both have raw times."""
        sharper = differences.copy()
        for at, (base, new) in enumerate(zip(pairs["row_base"], pairs["row_new"], strict=True)):
            logs = [self._logs(side, row) for side, row in (("base", base), ("new", new))]
            if logs[0] is not None and logs[1] is not None and len(logs[0]) == len(logs[1]):
                # Times, so the other way round: half the time is twice the rate.
                sharper[at] = np.median(logs[0] - logs[1])
        return sharper

    def _logs(self, side: str, row: int) -> np.ndarray | None:
        """Logarithms of the mean nanoseconds of a step, float64 [rounds]; None without times."""
        facts = self.sides[side].iloc[row]
        times = self._file(str(facts["file"])).get((facts["cell_id"], int(facts["repeat"])))
        if times is None or len(times["block_ns"]) < TURNS:
            return None
        blocks = np.asarray(times["block_ns"], float) / times["block_steps"]
        whole = len(blocks) // TURNS * TURNS
        means: np.ndarray = np.log(blocks[:whole].reshape(-1, TURNS).mean(axis=1))
        return means

    def _file(self, path: str) -> dict[tuple[str, int], dict[str, Any]]:
        if path not in self.files:
            self.files[path] = {}
            steps = files.steps_path(Path(path))
            if steps.exists():
                self.files[path] = {
                    (times["cell_id"], times["repeat"]): times
                    for times in files.read_steps(steps)
                    if _usable(times, steps)
                }
        return self.files[path]


def _usable(times: dict[str, Any], path: Path) -> bool:
    """Whether a row was timed; UsageError for times that are no numbers."""
    blocks, steps = times.get("block_ns", []), times.get("block_steps", 1)
    right = (
        isinstance(blocks, list)
        and all(isinstance(one, int) and one > 0 for one in blocks)
        and isinstance(steps, int)
        and steps > 0
    )
    if not right:
        raise UsageError(f"{path}: the times of {times['cell_id']} are no numbers; move it away")
    return bool(blocks)
