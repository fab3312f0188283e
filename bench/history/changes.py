"""Where a series of nights changed. Pure.

Candidates come from ruptures: the segmentation with the least squared error and a penalty for each
change (PELT, Killick et al. 2012). Each candidate must then pass Welch's test between its two
segments. A single outlying night is no change, and a drift is told as a trend, not as many steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import ruptures

from bench.compare import stats
from bench.compare.stats import Floats

LEAST_NIGHTS = 3
"""On each side of a change: two nights could both be outliers."""

PENALTY = 3.0
"""Times the noise's variance times ln n; the Bayesian information criterion for a mean and a place
would be 2, and nights are not quite independent."""

OUTLYING = 4.0
"""Robust standard deviations from the median of its neighbours that make a night an outlier."""

WINDOW = 5  # nights around a night, itself included


@dataclass(frozen=True)
class Change:
    """``at``: the first night of the new level; log_ratio: new level over the old."""

    at: int
    log_ratio: float
    p: float


@dataclass(frozen=True)
class Found:
    """What happened in one series. trend: the log-ratio of its end to its start, or 0."""

    changes: Sequence[Change]
    outliers: Sequence[int]
    trend: float = 0.0


def find(logs: Floats, *, margin: float = stats.MARGIN) -> Found:
    """Changes of at least ``margin`` in a series of logarithms, oldest first; float64 [nights]."""
    outliers, clean = _without_outliers(logs)
    if len(clean) < 2 * LEAST_NIGHTS:
        return Found([], outliers)
    values = clean.copy()
    noise = _noise(values)
    if noise == 0:
        noise = 1e-9  # nights that repeat to the last digit: any step is a change
    bounds = _segments(values, noise)
    places = np.arange(len(values), dtype=float)
    line: Floats = np.polyval(np.polyfit(places, values, 1), places).astype(float)
    if len(bounds) > 1 and _drifts(values, line, bounds, noise):
        return Found([], outliers, trend=float(line[-1] - line[0]))
    return Found(_confirmed(values, bounds, margin), outliers)


def _without_outliers(logs: Floats) -> tuple[list[int], Floats]:
    """Outlying nights, and the series with its neighbours' median in their place."""
    half = WINDOW // 2
    padded = np.pad(logs, half, mode="reflect") if len(logs) > half else logs
    if len(padded) < WINDOW:
        return [], logs
    around = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)
    middle = np.median(around, axis=1)
    away = np.abs(logs - middle)
    scale = _noise(logs)
    found = [int(at) for at in np.flatnonzero(away > OUTLYING * max(scale, 1e-9))]
    clean = logs.copy()
    clean[found] = middle[found]
    return found, clean


def _noise(logs: Floats) -> float:
    """Robust standard deviation from night to night, blind to steps: of the differences."""
    differences = np.diff(logs)
    if not len(differences):
        return 0.0
    # 1.4826 makes the median absolute deviation a normal's standard deviation.
    return float(1.4826 * np.median(np.abs(differences)) / math.sqrt(2))


def _segments(values: Floats, noise: float) -> list[int]:
    """Ends of the segments, the last being the number of nights."""
    # A linear kernel's cost is the squared distance from the segment's mean.
    model = ruptures.KernelCPD(kernel="linear", min_size=LEAST_NIGHTS)
    penalty = PENALTY * math.log(len(values))
    ends: list[int] = model.fit(values.reshape(-1, 1) / noise).predict(pen=penalty)
    return ends


def _drifts(values: Floats, line: Floats, ends: Sequence[int], noise: float) -> bool:
    """Whether a straight line tells the series in fewer words than steps do (BIC)."""
    n = len(values)
    starts = [0, *ends[:-1]]
    steps = sum(
        float(((values[a:b] - values[a:b].mean()) ** 2).sum())
        for a, b in zip(starts, ends, strict=True)
    )
    straight = float(((values - line) ** 2).sum())
    cost_steps = steps / noise**2 + (2 * len(ends) - 1) * math.log(n)
    return straight / noise**2 + 2 * math.log(n) < cost_steps


def _confirmed(values: Floats, ends: Sequence[int], margin: float) -> list[Change]:
    """Candidates that Welch's test confirms and that are large enough to matter."""
    bounds = [0, *ends]
    found = []
    for start, at, end in zip(bounds, bounds[1:], bounds[2:], strict=False):
        before, after = values[start:at], values[at:end]
        ratio = float(after.mean() - before.mean())
        # The place was chosen among all nights because it looks like a change.
        p = min(1.0, _p(before, after) * len(values))
        if abs(ratio) >= math.log1p(margin) and p <= stats.LEVEL:
            found.append(Change(int(at), ratio, p))
    return found


def _p(before: Floats, after: Floats) -> float:
    """Of Welch's test."""
    sides = [stats.moments(side, np.zeros(len(side), np.intp), 1) for side in (before, after)]
    return float(stats.unpaired(*sides).p_different()[0])
