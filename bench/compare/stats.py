"""The arithmetic of a comparison; docs/comparing.md explains it and names its sources.

Pure and on whole arrays. The unit of replication is the fresh process (a fleet of them where they
took turns), never the step. What is estimated is the difference of the means of logarithms, which
is the logarithm of the ratio of geometric means; an interval of it is Student's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

LEVEL = 0.01
"""Share of false discoveries among what is called faster or slower; intervals hold 1 - LEVEL."""

EARLY = 0.65
"""Tests are held to this share of their level. A pilot that stops when its interval looks narrow
stops where its spread happens to look small: with normal noise it called 1.45 times as many
identical workers different as one of a fixed size."""

SAME_LEVEL = 0.05
"""Level of the two one-sided tests behind ``same`` (Schuirmann 1987; 0.05 is their custom)."""

MARGIN = 0.03
"""Ratios from 1 / (1 + MARGIN) to 1 + MARGIN count as the same."""

POWER = 0.9
"""With this probability an effect as large as the smallest detectable one is found."""

AIM = 0.95
"""Real noise is not quite normal: what should be found with 0.93 was found with 0.894 by pilots of
eight fleets drawn from measured ones (tests/unit/test_calibration.py)."""

GRID = 200
MANY = 1000
"""Degrees of freedom from which on an estimated error is as good as known."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimates:
    """One log-ratio an element. ``df`` is 0 and ``se`` infinite where processes are too few."""

    log_ratio: Floats
    se: Floats
    df: Floats

    def interval(self, level: float) -> tuple[Floats, Floats]:
        """Bounds of the log-ratio that hold it with probability 1 - level."""
        half = _quantile(1 - level / 2, self.df) * self.se
        return self.log_ratio - half, self.log_ratio + half

    def p_different(self) -> Floats:
        """Two-sided probability of a difference as large, if there were none."""
        return np.minimum(1.0, 2 * _tail(np.abs(self.log_ratio), self.se, self.df))

    def p_same(self, margin: float) -> Floats:
        """The larger p of two one-sided tests, each against a ratio beyond the margin."""
        bound = np.log1p(margin)
        above = _tail(bound - self.log_ratio, self.se, self.df)
        below = _tail(bound + self.log_ratio, self.se, self.df)
        return np.maximum(above, below)

    def detectable(self, level: float, *, tests: int) -> Floats:
        """The smallest log-ratio that is found with probability POWER by a pilot like this one.

        Where one of ``tests`` differs and no other, Benjamini and Hochberg's procedure finds it
        at level / tests.
        """
        whole = np.floor(self.df)
        reach = np.full(whole.shape, np.inf)
        for df in np.unique(whole[whole > 0]):
            reach[whole == df] = _reach(int(min(df, MANY)), level / max(tests, 1))
        return reach * self.se


@cache
def _reach(df: int, level: float) -> float:
    """How many estimated standard errors an effect must have to be found with probability POWER.

    The effect is k e, with e the error that this pilot estimates, and the next pilot, whose own
    estimate is e', finds it if x + k e > t e', x being normal. e and e' are independent and
    follow sqrt(chi2(df) / df), for which equally likely values stand.
    """
    shares = (np.arange(GRID) + 0.5) / GRID
    errors = np.sqrt(stats.chi2.ppf(shares, df) / df)
    critical = stats.t.ppf(1 - level / 2, df)

    def lacking(k: float) -> float:
        found = stats.norm.cdf(k * errors[:, None] - critical * errors[None, :])
        return float(found.mean()) - AIM

    most = critical + 10.0
    while lacking(most) < 0:
        most *= 2
    return float(optimize.brentq(lacking, critical, most))


def _quantile(share: float, df: Floats) -> Floats:
    """Student's quantile; infinite without degrees of freedom."""
    found: Floats = np.where(df > 0, stats.t.ppf(share, np.where(df > 0, df, 1.0)), np.inf)
    return found


def _tail(distance: Floats, se: Floats, df: Floats) -> Floats:
    """P(T > distance / se); 1 where the standard error is unknown."""
    known = (df > 0) & np.isfinite(se)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Figures without any spread (a file's size, a peak): any distance is infinitely far.
        t = np.where(distance == 0, 0.0, distance / se)
    tail: Floats = np.where(known, stats.t.sf(t, np.where(known, df, 1.0)), 1.0)
    return tail


@dataclass(frozen=True)
class Moments:
    """Number, mean and variance (of one observation) of each group of logarithms."""

    n: Floats
    mean: Floats
    variance: Floats


def moments(values: Floats, groups: NDArray[np.intp], count: int) -> Moments:
    """Of ``values`` by group number; NaN where a group has too few."""
    n = np.bincount(groups, minlength=count).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(groups, weights=values, minlength=count) / n
        squares = np.bincount(groups, weights=(values - mean[groups]) ** 2, minlength=count)
        variance = np.where(n > 1, squares / (n - 1), np.nan)
    return Moments(n, mean, variance)


def unpaired(base: Moments, new: Moments) -> Estimates:
    """Welch's: two sides whose processes have nothing to do with each other."""
    known = (base.n > 1) & (new.n > 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = base.variance / base.n, new.variance / new.n
        total = parts[0] + parts[1]
        # Welch and Satterthwaite's degrees of freedom; without any spread those of a pooled test.
        weighted = parts[0] ** 2 / (base.n - 1) + parts[1] ** 2 / (new.n - 1)
        df = np.where(total > 0, total**2 / weighted, base.n + new.n - 2)
    return Estimates(
        log_ratio=new.mean - base.mean,
        se=np.where(known, np.sqrt(total), np.inf),
        df=np.where(known, df, 0.0),
    )


def paired(differences: Moments) -> Estimates:
    """Sides that took turns: one difference of logarithms a fleet."""
    known = differences.n > 1
    with np.errstate(divide="ignore", invalid="ignore"):
        se = np.sqrt(differences.variance / differences.n)
    return Estimates(
        log_ratio=differences.mean,
        se=np.where(known, se, np.inf),
        df=np.where(known, differences.n - 1, 0.0),
    )


def adjusted(p: Floats) -> Floats:
    """Benjamini and Hochberg's adjusted p-values (1995); NaN stays and does not count."""
    found = np.full_like(p, np.nan)
    known = ~np.isnan(p)
    if known.any():
        found[known] = stats.false_discovery_control(p[known], method="bh")
    return found
