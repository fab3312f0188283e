"""What differs between two machines, and how much of a difference is the hardware's.

Every worker measures a matrix product, memory and a launch beside its model. A model's rate divided
by its own process's matrix rate is what the software makes of the hardware; that quotient is
compared like any figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from bench.compare import stats
from bench.compare.matching import Matched
from bench.compare.metrics import THROUGHPUT, logarithms
from bench.compare.sides import Side
from bench.compare.stats import Estimates

WHOLE = ("cluster", "host", "device_name", "driver", "threads", "git_rev")
OF_BACKENDS = ("backend_version", "env_lock", "env_python", "settings")
MATRIX = "gemm_tflops"
PROBES = {MATRIX: "matrix rate", "memory_gb_s": "memory rate", "launch_us": "launch time"}
SHOWN = 6  # values of a fact; a hundred hosts say no more


@dataclass(frozen=True)
class Difference:
    """A fact that is not the same on both sides. ``of``: the backend, or "" for the machine."""

    fact: str
    of: str
    base: str
    new: str


def differences(base: Side, new: Side) -> list[Difference]:
    """Machine first, then each backend that both sides have."""
    found = [_difference(name, "", base.rows, new.rows) for name in WHOLE]
    common = sorted(set(base.rows["backend"]) & set(new.rows["backend"]))
    for backend in common:
        sides = [side.rows[(side.rows["backend"] == backend)] for side in (base, new)]
        found += [_difference(name, backend, *sides) for name in OF_BACKENDS]
    return [one for one in found if one is not None]


def _difference(name: str, of: str, base: pd.DataFrame, new: pd.DataFrame) -> Difference | None:
    values = [_values(rows, name) for rows in (base, new)]
    if values[0] == values[1] or not all(values):  # what one side does not say is no difference
        return None
    return Difference(name, of, *(_listed(one) for one in values))


def _values(rows: pd.DataFrame, name: str) -> set[str]:
    kept = rows.loc[rows["status"] == "ok", name].dropna().unique()
    return {str(int(one)) if isinstance(one, float) else str(one) for one in kept} - {""}


def _listed(values: Iterable[str]) -> str:
    names = sorted(values)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


@dataclass(frozen=True)
class Split:
    """Of one side against the base: geometric means over ``cells`` cells, as log-ratios.

    software: what is left of ``speed`` without the matrix rate, with its interval.
    """

    new: str
    cells: int
    speed: float
    probes: dict[str, float]
    software: float
    low: float
    high: float

    @property
    def distinguishable(self) -> bool:
        return not self.low <= 0 <= self.high


def split(matched: Matched, *, level: float) -> Split | None:
    """None where no cell has a matrix rate on both sides."""
    sides = [_Logs(matched.base, matched.base_codes), _Logs(matched.new, matched.new_codes)]
    count = len(matched.keys)
    quotient = _estimates(sides, "software", count)
    usable = ~np.isnan(quotient.log_ratio) & (matched.causes == "")
    if not usable.any():
        return None
    software, low, high = _mean(quotient, usable, level=level)
    probes = {}
    for column, name in PROBES.items():
        ratios = _estimates(sides, column, count).log_ratio[usable]
        if not np.isnan(ratios).all():
            probes[name] = float(np.nanmean(ratios))
    speed = float(_estimates(sides, "speed", count).log_ratio[usable].mean())
    return Split(matched.new.name, int(usable.sum()), speed, probes, software, low, high)


class _Logs:
    """Logarithms of one side's rows."""

    def __init__(self, side: Side, codes: np.ndarray) -> None:
        ok = (side.rows["status"] == "ok").to_numpy()
        self.codes = np.where(ok, codes, -1)
        speed = logarithms(side.rows, THROUGHPUT)
        self.values = {"speed": speed}
        for column in PROBES:
            figures = side.rows[column].to_numpy(float)
            self.values[column] = np.log(np.where(figures > 0, figures, np.nan))
        self.values["software"] = speed - self.values[MATRIX]

    def moments(self, name: str, count: int) -> stats.Moments:
        values = self.values[name]
        kept = ~np.isnan(values) & (self.codes >= 0)
        return stats.moments(values[kept], self.codes[kept], count)


def _estimates(sides: list[_Logs], name: str, count: int) -> Estimates:
    return stats.unpaired(*(side.moments(name, count) for side in sides))


def _mean(found: Estimates, which: np.ndarray, *, level: float) -> tuple[float, float, float]:
    """Over cells, which share nothing but the machine; the fewest degrees of freedom count."""
    logs, errors, df = (part[which] for part in (found.log_ratio, found.se, found.df))
    mean = np.array([logs.mean()])
    one = Estimates(mean, np.array([np.sqrt((errors**2).sum()) / len(logs)]), np.array([df.min()]))
    low, high = one.interval(level)
    return float(mean[0]), float(low[0]), float(high[0])


@dataclass(frozen=True)
class Turned:
    """Two backends of which another is faster on the new side. ``certain``: on both sides."""

    what: str
    new: str
    ahead: str
    behind: str
    certain: bool


def turned(base: Side, new: Side, *, level: float) -> Iterator[Turned]:
    """Pairs of backends whose order changes; ``ahead`` leads on the base and not on the new."""
    tables = [_by_contest(side) for side in (base, new)]
    for contest in sorted(set(tables[0]) & set(tables[1])):
        common = sorted(set(tables[0][contest]) & set(tables[1][contest]))
        for first, second in combinations(common, 2):
            found = [_lead(table[contest], first, second) for table in tables]
            if (found[0].log_ratio * found[1].log_ratio)[0] >= 0:
                continue
            leads = found[0].log_ratio[0] > 0
            ahead, behind = (second, first) if leads else (first, second)
            sure = all(one.p_different()[0] <= level for one in found)
            yield Turned(contest, new.name, ahead, behind, sure)


def _by_contest(side: Side) -> dict[str, dict[str, np.ndarray]]:
    """Cell without backend and mode -> backend and mode -> logarithms of its processes."""
    logs = logarithms(side.rows, THROUGHPUT)
    kept = (side.rows["status"] == "ok").to_numpy() & ~np.isnan(logs)
    rows = pd.DataFrame({"cell": side.rows["cell_id"].astype(str)[kept], "log": logs[kept]})
    found: dict[str, dict[str, np.ndarray]] = {}
    for cell, group in rows.groupby("cell"):
        parts = str(cell).split("/")
        label, rest = f"{parts[0]} {parts[6]}", "/".join([*parts[1:6], *parts[7:]])
        found.setdefault(rest, {})[label] = group["log"].to_numpy()
    return found


def _lead(logs: dict[str, np.ndarray], first: str, second: str) -> Estimates:
    """How much faster ``second`` is."""
    sides = [
        stats.moments(logs[name], np.zeros(len(logs[name]), np.intp), 1) for name in (first, second)
    ]
    return stats.unpaired(*sides)
