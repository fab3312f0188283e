"""The highest rate that holds a latency limit: halving, with what one bad moment must not decide.
Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

LOWEST = 0.05  # of full load: where even this does not hold, no rate is worth naming
WITHIN = 0.04
PATTERN, SECOND = 1, 2
"""Seeds of the arrivals. All rates are tried under the same pattern, stretched; a rate that fails
is tried once more under another, for on a machine that others use one stall is no answer."""

CONFIRM = (3, 4, 5)
"""The rate that is named has held under one more: another may have no burst where it counts."""
STEP_BACK = 0.93

Holds = Callable[[float, int], bool]
"""(rate, seed of the arrivals) -> whether the limit was held."""


class Highest(NamedTuple):
    """held: confirmed by another pattern, None where none is. failed: the lowest that did not."""

    held: float | None
    failed: float | None


def highest(holds: Holds, *, full: float, held: float | None = None) -> Highest:
    """full: requests a second at full load. No rate above it is tried: its queue only grows.

    held: a rate of which it is known that it does.
    """

    def tried(rate: float) -> bool:
        return holds(rate, PATTERN) or holds(rate, SECOND)

    low = held or LOWEST * full
    high = max(full, low)
    if held is None and not tried(low):
        return Highest(None, low)
    if tried(high):
        low = high
    while high / low > 1 + WITHIN:
        middle = (low + high) / 2
        low, high = (middle, high) if tried(middle) else (low, middle)
    failed = high if high > low else None
    for seed in CONFIRM:
        if holds(low, seed):
            return Highest(low, failed)
        failed, low = low, low * STEP_BACK
    return Highest(None, failed)
