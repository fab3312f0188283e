"""How a cell's work is cut into turns, and what is left when it ends."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from bench import clock
from bench.child.launch import Child, Ended

Row = dict[str, Any]
Times = dict[str, Any]

Found = tuple[Row, Times, "Ended | None"]
"""What a process left: its columns, its raw times, and why it ended early."""


@dataclass(frozen=True)
class Pace:
    """How the timed blocks are dealt out.

    turns: how often others may come in between; between them the parent looks at the memory.
    discard: steps before each turn that do not count, for the others have had the caches; none
    where a step lasts a second.
    min_block_ns: what a block lasts at least. spread: whether the turns share out as many blocks as
    the spec asks for; else each is one block.
    """

    turns: int
    discard: int
    min_block_ns: int
    spread: bool


LEAST_WARMUP = 1 + 2 * clock.STEADY_WINDOW  # steps
MAX_BLOCKS, MAX_LATENCIES = 400, 1000
SLOW_S = 1.0
"""What a step's cold caches cost was seen to be 15 % of 50 ms at most: not 1 % of such a step."""

ALONE = Pace(turns=4, discard=0, min_block_ns=clock.MIN_BLOCK_NS, spread=True)


@dataclass
class Outcome:
    """A finished cell: measured columns, raw times and what its processes printed.

    tail: the last lines of the one that ended early.
    """

    row: Row
    times: Times = field(default_factory=dict)
    log: str = ""
    tail: list[str] = field(default_factory=list)


Turns = Generator["Child | None", None, Outcome]
"""Yields the worker whose turn comes next, with the cell asleep; its value is the outcome."""

Script = Generator["Child | None", None, None]


class Watch:
    """Counts the seconds in which a cell has its turn; the others' are none of its business."""

    def __init__(self) -> None:
        self._paused = 0.0
        self._started = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self._started - self._paused

    def pause(self, worker: Child | None) -> Script:
        """Let others have their turn."""
        paused = time.perf_counter()
        yield worker
        self._paused += time.perf_counter() - paused
