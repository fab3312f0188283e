"""A verdict for every cell and figure: a ratio, its interval and one word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.compare import matching, stats
from bench.compare.matching import Matched
from bench.compare.metrics import (
    BY_NAME,
    INCOMPARABLE,
    INCONCLUSIVE,
    METRICS,
    RUNG,
    SAME,
    THROUGHPUT,
    Metric,
    logarithms,
)
from bench.compare.rounds import Rounds
from bench.compare.sides import Side
from bench.compare.stats import Estimates, Floats, Moments
from bench.rows.schema import RUNGS

RUNS = 3
"""From so many runs on, a side's runs are the units: what differs from run to run is in them all.
With fewer its processes are, and the interval holds no more than what differs between those."""

COLUMNS = (
    *("new", "cell", "metric", "base_value", "new_value", "base_n", "new_n", "paired"),
    *(
        "ratio",
        "low",
        "high",
        "p",
        "p_adjusted",
        "p_same",
        "detectable",
        "verdict",
        "cause",
        "reason",
    ),
)


@dataclass(frozen=True)
class How:
    """level: of false discoveries; margin: how far apart two that are the same may be."""

    level: float = stats.LEVEL
    margin: float = stats.MARGIN
    metrics: tuple[str, ...] = (*BY_NAME, RUNG)
    ignored: tuple[str, ...] = ()

    @property
    def strict(self) -> float:
        """What tests are held to, so that ``level`` is kept where the pilot chose when to stop."""
        return self.level * stats.EARLY


def compare(base: Side, others: Sequence[Side], how: How) -> pd.DataFrame:
    """One line a side, cell and metric (``COLUMNS``); false discoveries are controlled over all.

    ``ratio`` is NEW / BASE; ``detectable`` is the smallest effect, as a fraction, that would have
    been found.
    """
    tables = []
    for other in others:
        matched = matching.match(base, other, ignored=how.ignored)
        wanted = [metric for metric in METRICS if metric.name in how.metrics]
        tables += [_table(matched, metric) for metric in wanted]
        if RUNG in how.metrics:
            tables.append(_rungs(matched))
    found = pd.concat(tables, ignore_index=True)
    return _judged(found, how)[list(COLUMNS)]


def _table(matched: Matched, metric: Metric) -> pd.DataFrame:
    """Estimates of one metric, without words; cells where neither side has it are left out."""
    sides = [
        _values(side.rows, codes, metric)
        for side, codes in ((matched.base, matched.base_codes), (matched.new, matched.new_codes))
    ]
    count = len(matched.keys)
    base, new = (_moments(values, count) for values in sides)
    estimates, paired = _estimates(matched, metric, sides, base, new)
    table = pd.DataFrame(
        {
            "new": matched.new.name,
            "cell": matched.keys,
            "metric": metric.name,
            "base_value": np.exp(base.mean),
            "new_value": np.exp(new.mean),
            "base_n": np.bincount(sides[0]["key"], minlength=count),
            "new_n": np.bincount(sides[1]["key"], minlength=count),
            "paired": paired,
            "log_ratio": estimates.log_ratio,
            "se": estimates.se,
            "df": estimates.df,
            "cause": matched.causes,
            "reason": matched.reasons,
        }
    )
    there = (table["base_n"] > 0) | (table["new_n"] > 0)
    for column, name in (("base_n", matched.new.name), ("new_n", matched.base.name)):
        alone = there & (table[column] == 0) & (table["reason"] == "")
        table.loc[alone, "reason"] = f"only {name} has this figure"
    # A cell that neither side measured has one line, its throughput's, that says so.
    return table[there | ((table["reason"] != "") & (metric is THROUGHPUT))]


def _values(rows: pd.DataFrame, codes: np.ndarray, metric: Metric) -> pd.DataFrame:
    """Key numbers and logarithms of the rows that ended well and have the figure."""
    values = logarithms(rows, metric)
    kept = (rows["status"] == "ok").to_numpy() & ~np.isnan(values) & (codes >= 0)
    return pd.DataFrame(
        {
            "key": codes[kept],
            "value": values[kept],
            "run": rows["run_id"].cat.codes.to_numpy()[kept],
            "fleet": rows["fleet"].to_numpy()[kept],
            "row": np.flatnonzero(kept),
        }
    )


def _estimates(
    matched: Matched, metric: Metric, sides: Sequence[pd.DataFrame], base: Moments, new: Moments
) -> tuple[Estimates, np.ndarray]:
    """Welch's, but where at least two fleets have both sides: those pairs'."""
    free = stats.unpaired(base, new)
    count = len(matched.keys)
    in_fleets = [side[side["fleet"] != ""] for side in sides]
    if any(side.empty for side in in_fleets):
        return free, np.zeros(count, bool)
    pairs = in_fleets[0].merge(in_fleets[1], on=["key", "fleet"], suffixes=("_base", "_new"))
    differences = (pairs["value_new"] - pairs["value_base"]).to_numpy()
    if metric is THROUGHPUT:
        differences = Rounds(matched.base.rows, matched.new.rows).sharpened(pairs, differences)
    pairs = pairs.assign(value=differences, run=pairs["run_base"])
    of_pairs = _moments(pairs, count)
    bound = stats.paired(of_pairs)
    use = of_pairs.n > 1
    picked = [
        np.where(use, getattr(bound, name), getattr(free, name))
        for name in ("log_ratio", "se", "df")
    ]
    return Estimates(*picked), use


def _moments(values: pd.DataFrame, count: int) -> Moments:
    """Of each key's units: its processes, or its runs where there are enough."""
    keys, runs = values["key"].to_numpy(np.int64), values["run"].to_numpy(np.int64)
    logs = values["value"].to_numpy(float)
    number = int(runs.max()) + 1 if len(runs) else 1
    together, inverse = np.unique(keys * number + runs, return_inverse=True)
    per_run = stats.moments(logs, inverse, len(together))
    run_keys = together // number
    many = np.bincount(run_keys, minlength=count) >= RUNS
    single, whole = ~many[keys], many[run_keys]
    return stats.moments(
        np.concatenate([logs[single], per_run.mean[whole]]),
        np.concatenate([keys[single], run_keys[whole]]),
        count,
    )


def _judged(found: pd.DataFrame, how: How) -> pd.DataFrame:
    """Probabilities adjusted over all lines, and the words."""
    columns = (found[name].to_numpy(float) for name in ("log_ratio", "se", "df"))
    estimates = Estimates(*columns)
    usable = (found["reason"] == "").to_numpy() & ~np.isnan(estimates.log_ratio)
    low, high = estimates.interval(how.strict)
    found["ratio"] = np.exp(estimates.log_ratio)
    found["low"], found["high"] = np.exp(low), _exp(high)
    found["p"] = np.where(usable, estimates.p_different(), np.nan)
    found["p_adjusted"] = stats.adjusted(found["p"].to_numpy())
    found["p_same"] = np.where(usable, estimates.p_same(how.margin), np.nan)
    reach = estimates.detectable(how.strict, tests=int(usable.sum()))
    found["detectable"] = np.where(usable, _exp(reach) - 1, np.nan)
    rungs = (found["metric"] == RUNG).to_numpy()
    words = np.where(rungs, found.get("verdict", ""), _words(found, how))
    found["verdict"] = np.where((found["reason"] != "").to_numpy(), INCOMPARABLE, words)
    return found


def _words(found: pd.DataFrame, how: How) -> np.ndarray:
    more = found["metric"].map(lambda name: BY_NAME[name].more if name in BY_NAME else "")
    less = found["metric"].map(lambda name: BY_NAME[name].less if name in BY_NAME else "")
    words = np.full(len(found), INCONCLUSIVE, dtype=object)
    differs = found["p_adjusted"].to_numpy() <= how.strict
    words[differs] = np.where(found["ratio"] > 1, more, less)[differs]
    # A difference can be certain and still not matter.
    words[found["p_same"].to_numpy() <= stats.SAME_LEVEL] = SAME
    return words


def _exp(values: Floats) -> Floats:
    """Infinity stays infinity, without a warning about it."""
    return np.exp(np.minimum(values, 700.0)) + np.where(np.isinf(values), np.inf, 0.0)


def _rungs(matched: Matched) -> pd.DataFrame:
    """The lowest rung that a side's processes reached."""
    rungs = {name: place for place, name in enumerate(RUNGS)}
    count = len(matched.keys)
    lowest = []
    for side, codes in ((matched.base, matched.base_codes), (matched.new, matched.new_codes)):
        places = side.rows["export_rung"].astype(str).map(rungs).to_numpy(float)
        kept = ~np.isnan(places) & (codes >= 0)
        least = np.full(count, np.inf)
        np.minimum.at(least, codes[kept], places[kept])
        lowest.append(least)
    both = np.isfinite(lowest[0]) & np.isfinite(lowest[1])
    words = np.select([lowest[1] > lowest[0], lowest[1] < lowest[0]], ["higher", "lower"], SAME)
    return pd.DataFrame(
        {
            "new": matched.new.name,
            "cell": matched.keys,
            "metric": RUNG,
            "base_value": lowest[0],
            "new_value": lowest[1],
            "verdict": words,
            "cause": "",
            "reason": "",
            "paired": False,
            "log_ratio": np.nan,
            "se": np.inf,
            "df": 0.0,
        }
    )[both]
