"""One measured sub-score: a figure, the share of the best possible that it is, and how sure.

Every sub-score is a share from 0 (worst) to 1 (best) with an interval; a criterion's score is ten
times their mean. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

LEVEL = 0.95
"""Intervals hold this much; scores steer a choice, they call nobody slower."""

# Quantiles by scipy.special: importing scipy.stats takes a second, a fifth of what a score may.
_Z = float(special.ndtri(0.5 + LEVEL / 2))

Draws = NDArray[np.float64]


class Subject(NamedTuple):
    """What a sub-score is about. rests_on: the ids of the cells, or the files, behind it."""

    backend: str
    criterion: str
    name: str
    rests_on: Sequence[str]


@dataclass(frozen=True)
class Evidence:
    """``value`` in ``unit`` as measured; share, low, high: where it lies from 0 to 1."""

    subject: Subject
    value: float
    unit: str
    share: float
    low: float
    high: float

    def draws(self, normal: Draws) -> Draws:
        """Shares as uncertain as this one, from standard normal numbers.

        Not cut at 1: a share is relative to the best one's estimate, which may turn out lower.
        """
        below, above = (self.share - self.low) / _Z, (self.high - self.share) / _Z
        found: Draws = np.maximum(self.share + normal * np.where(normal < 0, below, above), 0.0)
        return found


def passed(subject: Subject, *, yes: int, of: int) -> Evidence:
    """A share of trials that went well, with Wilson's interval (1927)."""
    share, wide = yes / of, _Z**2 / of
    centre = (share + wide / 2) / (1 + wide)
    reach = _Z * math.sqrt(share * (1 - share) / of + wide / (4 * of)) / (1 + wide)
    # At either end rounding may pass what the formula makes exactly 0 or 1.
    low, high = max(centre - reach, 0.0), min(centre + reach, 1.0)
    return Evidence(subject, yes, f"of {of}", share, low, high)


def half(value: float, at: float) -> float:
    """A share that is 1 at nothing and one half at ``at``: what is smaller is better.

    It depends on no other backend, so leaving one out changes no other's score.
    """
    return 1 / (1 + value / at)


def costs(subject: Subject, value: float, unit: str, *, at: float, error: float = 0.0) -> Evidence:
    """A figure of which less is better, worth half the marks at ``at``; error: its standard's."""
    low, high = (half(max(value + way * _Z * error, 0.0), at) for way in (1, -1))
    return Evidence(subject, value, unit, half(value, at), low, high)


def certain(subject: Subject, value: float, unit: str, *, share: float) -> Evidence:
    """A fact that was counted, not estimated."""
    return Evidence(subject, value, unit, share, share, share)


def ratio(subject: Subject, *, log: float, error: float, df: float) -> Evidence:
    """A geometric mean of ratios to the best, from its logarithm and that one's standard error."""
    reach = float(special.stdtrit(max(df, 1.0), 0.5 + LEVEL / 2)) * error
    share = math.exp(log)
    high = math.exp(min(log + reach, 700.0))
    return Evidence(subject, share, "of the best", share, math.exp(log - reach), high)
