"""What ``bench fairness`` found: ratios of step times with their intervals. Pure.

The process is the unit of replication, never the step: the interval is Student's over the
processes' log-ratios.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scipy import stats

LIMIT = 1.03
"""Ours may take this much longer: what two runs of one model differ by is about as much."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Verdict:
    """One backend and model: the ratio of step times, ours over theirs, with its interval."""

    backend: str
    track: str
    model: str
    public: str
    processes: int
    ratio: float
    low: float
    high: float

    @property
    def fair(self) -> bool:
        return self.ratio <= LIMIT


def verdicts(rows: Iterable[Mapping[str, Any]]) -> list[Verdict]:
    """The geometric mean of the processes' ratios and Student's interval of its logarithm."""
    groups: dict[tuple[str, str, str, str], list[float]] = {}
    for row in rows:
        if row["status"] == "ok":
            key = (row["backend"], row["track"], row["model"], row["public"])
            groups.setdefault(key, []).append(float(row["log_ratio"]))
    return [_verdict(*key, logs=logs) for key, logs in groups.items()]


def _verdict(backend: str, track: str, model: str, public: str, *, logs: list[float]) -> Verdict:
    mean, count = statistics.mean(logs), len(logs)
    half = math.inf
    if count > 1:
        quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
        half = quantile * statistics.stdev(logs) / math.sqrt(count)
    low, high = math.exp(mean - half), math.exp(min(mean + half, 700.0))
    return Verdict(backend, track, model, public, count, math.exp(mean), low, high)


def table(found: Iterable[Verdict]) -> Iterator[str]:
    """Markdown, which a terminal shows well enough too."""
    yield "| backend | track | model | against | ours / theirs | 95 % interval | processes |"
    yield "|---|---|---|---|---|---|---|"
    for one in found:
        sure = f"{one.low:.3f} to {one.high:.3f}" if one.processes > 1 else "unknown"
        yield (
            f"| {one.backend} | {one.track} | {one.model} | {one.public} | {one.ratio:.3f} |"
            f" {sure} | {one.processes} |"
        )
