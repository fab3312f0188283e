"""What the processes of one cell have each left, side by side. Parent half."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def columns(rows: Sequence[Path]) -> dict[str, Any]:
    """The columns of a cell with a row file for each rank; a rank that left none is left out.

    The device's peak is that of the rank which needed most: each has a device of its own.
    """
    saved = {rank: json.loads(path.read_text()) for rank, path in enumerate(rows) if path.exists()}
    found = [_facts(rank, **one) for rank, one in saved.items()]
    timed = [one for one in found if "step_ms" in one]
    device = [one["peak_device_mib"] for one in found if "peak_device_mib" in one]
    return {
        "ranks": found,
        "slowest_rank": max(timed, key=lambda one: one["step_ms"])["rank"] if timed else None,
        "peak_device_mib": max(device, default=None),
    }


def _facts(rank: int, row: Mapping[str, Any], times: Mapping[str, Any]) -> dict[str, Any]:
    """step_ms: of this rank's own median block, its wait for the others included."""
    facts = {"rank": rank, "peak_host_mib": row["peak_host_mib"]}
    if blocks := times["own_block_ns"]:
        facts["step_ms"] = statistics.median(blocks) / times["block_steps"] / 1e6
    if row.get("peak_device_mib") is not None:
        facts["peak_device_mib"] = row["peak_device_mib"]
    return facts
