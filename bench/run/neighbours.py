"""Who else computed on a cell's CPUs while its blocks were timed.

A load average cannot say: it holds the cell before, which was this run's own.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from bench import memory
from bench.conditions import disturbed

Row = dict[str, Any]
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
LEAST_S = 1.0
"""Timed for less than this nothing is said: the kernel counts in ticks, of 10 ms mostly."""


class Books(NamedTuple):
    """Seconds of CPUs since the machine started (proc(5), /proc/stat); own: of given processes."""

    busy: float
    stolen: float
    own: float
    at: float


class Neighbours:
    """Adds up over a cell's turns; between them others have theirs."""

    def __init__(self, cpus: Collection[int]) -> None:
        self._cpus = cpus
        self._timed = self._others = self._stolen = 0.0

    @contextlib.contextmanager
    def watched(self, pids: Sequence[int]) -> Iterator[None]:
        """pids: the cell's processes; the harness's own time is none of a neighbour's, too."""
        before = self._books(pids)
        yield
        after = self._books(pids)
        self._timed += after.at - before.at
        self._stolen += after.stolen - before.stolen
        self._others += (after.busy - before.busy) - (after.own - before.own)

    def columns(self) -> Row:
        """``others_share`` and ``stolen_share``: of the CPUs, on average."""
        if self._timed < LEAST_S:
            return {}
        whole = self._timed * len(self._cpus)
        return {
            "others_share": max(0.0, self._others) / whole,
            "stolen_share": self._stolen / whole,
        }

    def _books(self, pids: Iterable[int]) -> Books:
        busy, stolen = _of_cpus(self._cpus)
        own = time.process_time() + sum(memory.computed_s(pid) for pid in pids)
        return Books(busy, stolen, own, time.monotonic())


def _of_cpus(cpus: Collection[int]) -> tuple[float, float]:
    busy = stolen = 0
    for line in (memory.PROC / "stat").read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cpus:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            busy += user + nice + system + irq + softirq
            stolen += steal
    return busy * TICK_S, stolen * TICK_S


def told(rows: Iterable[Row]) -> list[str]:
    """A line for a run's end, where rows of a CPU were disturbed."""
    timed = [row for row in rows if row["device"] == "cpu" and row.get("others_share") is not None]
    line = disturbed([row["others_share"] + (row["stolen_share"] or 0.0) for row in timed])
    return [f"{line}; run them again where nothing else runs"] if line else []
