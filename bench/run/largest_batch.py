"""The largest batch that trains: from what was tried to what is tried next. Pure.

Doubled until the memory is not enough, then halved between: exactly below 16, to a multiple of 8
or 5 % above, for that is what a batch is chosen by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TRAINS, FULL = "ok", "oom"
MOST = 2**20
"""Samples: where a step of so many has room, memory is not what limits a batch."""

EXACT_BELOW = 16
MULTIPLE = 8
WITHIN = 0.05


@dataclass(frozen=True)
class Known:
    """trains: the largest batch below ``full`` that did, 0 for none. full: the smallest that had no
    room, None as long as all had. stopped: one that ended otherwise, so that nothing is known.
    """

    trains: int
    full: int | None
    stopped: int | None


def known(outcomes: Mapping[int, str]) -> Known:
    """What statuses of batches say together; a batch above one without room counts for nothing."""
    full = min((batch for batch, status in outcomes.items() if status == FULL), default=None)
    below = [batch for batch, status in outcomes.items() if status == TRAINS]
    trains = max((batch for batch in below if full is None or batch < full), default=0)
    others = [batch for batch, status in outcomes.items() if status not in (TRAINS, FULL)]
    return Known(trains, full, min(others, default=None))


def following(outcomes: Mapping[int, str], *, first: int) -> int | None:
    """The next batch to try; None when there is nothing left to be learned."""
    if not outcomes:
        return first
    now = known(outcomes)
    if now.stopped is not None:
        return None
    if now.full is None:
        return min(2 * now.trains, MOST) if now.trains < MOST else None
    if now.full - now.trains <= _tolerance(now.trains):
        return None
    return _between(now.trains, now.full)


def _tolerance(trains: int) -> float:
    return 1 if trains < EXACT_BELOW else max(MULTIPLE, WITHIN * trains)


def _between(trains: int, full: int) -> int:
    middle = (trains + full) // 2
    if middle < EXACT_BELOW:
        return middle
    rounded = middle // MULTIPLE * MULTIPLE
    return rounded if rounded > trains else rounded + MULTIPLE
