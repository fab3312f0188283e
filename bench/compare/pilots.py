"""What one pilot's own rows tell: its backends against each other, and what it could have seen."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from bench.compare import frame, sides, stats, verdicts
from bench.compare.metrics import THROUGHPUT, logarithms
from bench.compare.verdicts import How

AXIS = "backend"


def throughputs(path: Path) -> pd.DataFrame:
    """Every backend's throughput against the first's; empty where there is but one."""
    if len(sides.values(AXIS, [path])) < 2:
        return pd.DataFrame(columns=verdicts.COLUMNS)
    base, *others = sides.between(AXIS, [path], base=None)
    return verdicts.compare(base, others, How(metrics=(THROUGHPUT.name,)))


def detectable(path: Path) -> list[str]:
    """Below a pilot's table: the smallest effects on throughput that would be seen."""
    within = throughputs(path)["detectable"].to_numpy(float)
    return [
        f"smallest difference of throughput that is found 9 times of 10: {words}"
        for words in (
            _words(within, f"between its backends (bench compare {path} --between {AXIS})"),
            _words(_another(path), "from another run like this one"),
        )
        if words
    ]


def _another(path: Path) -> np.ndarray:
    """Each cell against as many processes of another run, as noisy as its own."""
    rows = frame.read([path])
    logs = logarithms(rows, THROUGHPUT)
    kept = (rows["status"] == "ok").to_numpy() & ~np.isnan(logs)
    codes = rows["cell_id"].cat.codes.to_numpy().astype(np.intp)
    own = stats.moments(logs[kept], codes[kept], len(rows["cell_id"].cat.categories))
    found = stats.unpaired(own, own).detectable(How().strict, tests=int((own.n > 0).sum()))
    effects: np.ndarray = np.expm1(np.minimum(found[own.n > 0], 700.0))
    return effects


def _words(effects: np.ndarray, what: str) -> str:
    """The median cell's and the noisiest one's; unknown where a cell ran in one process."""
    known = effects[~np.isnan(effects)]
    if not len(known):
        return ""
    median, most = float(np.median(known)), float(known.max())
    if not math.isfinite(median) or median > 10:
        return f"unknown {what}: it takes more processes of a cell"
    noisiest = f"{most:.1%}" if most < 10 else "unknown"
    return f"{median:.1%} {what}; for the noisiest cell {noisiest}"
