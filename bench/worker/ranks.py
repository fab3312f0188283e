"""What each process of a cell has found, told to all of them, on whichever machine they are.

Worker half.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from bench.clock import Agree

UNKNOWN = -1.0
"""Below all that is measured, so that a largest value is what somebody knows."""

Facts = Mapping[str, Optional[float]]


def columns(own: Facts, *, rank: int, world_size: int, slowest: Agree) -> dict[str, Any]:
    """The columns of a cell with several processes; ``own`` are this rank's facts.

    ``slowest`` (Program.slowest) brings the largest of what each process puts at each place: of a
    table that is empty but for its own line, all of them get the whole. step_ms must be among them.
    """
    table = [UNKNOWN] * (world_size * len(own))
    begin = rank * len(own)
    table[begin : begin + len(own)] = [UNKNOWN if one is None else one for one in own.values()]
    known = slowest(table)
    ranks = []
    for at in range(world_size):
        line = zip(own, known[at * len(own) :])
        ranks.append({"rank": at, **{name: value for name, value in line if value != UNKNOWN}})
    return {
        "ranks": ranks,
        "slowest_rank": max(ranks, key=lambda one: one["step_ms"])["rank"],
        "peak_device_mib": max(
            (one["peak_device_mib"] for one in ranks if "peak_device_mib" in one), default=None
        ),
    }
