"""How often the method is right, from log-ratios whose truth is known: by drawing from them anew.

Pure. Fleets are drawn as a pilot would have met them; what is asked is what the comparison would
have said. ``logs`` are log-ratios against the same workers, one a fleet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.compare import stats
from bench.compare.stats import Estimates, Floats, Moments
from bench.stopping import LEAST

DRAWS = 2000
MOST = 200
"""Fleets after which a pilot that never reaches its target is taken to have run out of time."""


def exchanged(logs: Floats) -> Floats:
    """Of identical workers either could have been the other: each difference has its opposite."""
    return np.concatenate([logs, -logs])


def called(logs: Floats, *, fleets: int, level: float, seed: int = 0) -> float:
    """Share of comparisons of so many fleets that call a difference."""
    drawn = _drawn(logs, fleets, seed)
    return float((_paired(drawn).p_different() <= level).mean())


@dataclass(frozen=True)
class Stopped:
    """Of pilots that stop at a precision target: the share that calls a difference, and the share
    that got there; ``fleets``: how many they took, on average.
    """

    called: float
    reached: float
    fleets: float


def stopped(logs: Floats, *, target: float, level: float, seed: int = 0) -> Stopped:
    """Each pilot adds fleets until half its interval is ``target``: ``bench.stopping``."""
    drawn = _drawn(logs, MOST, seed)
    sizes = np.arange(1, MOST + 1)
    sums, squares = drawn.cumsum(axis=1), (drawn**2).cumsum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (squares - sums**2 / sizes) / (sizes - 1)
        found = stats.paired(Moments(sizes.astype(float), sums / sizes, np.abs(variance)))
    low, high = found.interval(level)
    enough = (np.expm1((high - low) / 2) <= target) & (sizes >= LEAST)
    last = np.where(enough.any(axis=1), enough.argmax(axis=1), MOST - 1)
    each = np.arange(len(drawn))
    p = found.p_different()[each, last]
    return Stopped(
        float((p <= level).mean()), float(enough.any(axis=1).mean()), float(sizes[last].mean())
    )


def found_if_detectable(logs: Floats, *, fleets: int, level: float, seed: int = 0) -> float:
    """Share of effects that are found if each is as large as the smallest detectable one.

    The effect is what one pilot tells of itself; the next, with other fleets, has to find it.
    """
    first, second = (_drawn(logs, fleets, seed + turn) for turn in (0, 1))
    effect = _paired(first).detectable(level, tests=1)
    found = _paired(second + effect[:, None])
    return float((found.p_different() <= level).mean())


def _drawn(logs: Floats, fleets: int, seed: int) -> Floats:
    """[DRAWS, fleets], with replacement."""
    drawn: Floats = np.random.default_rng(seed).choice(logs, (DRAWS, fleets))
    return drawn


def _paired(drawn: NDArray[np.float64]) -> Estimates:
    n = np.full(len(drawn), float(drawn.shape[1]))
    return stats.paired(Moments(n, drawn.mean(axis=1), drawn.var(axis=1, ddof=1)))
