"""Energy of a device that does not count it: its power, read again and again, and integrated.

A thread of the parent reads, for the parent only waits while a worker is timed. Ten readings a
second are as many as NVIDIA's devices renew at least, and cost some milliseconds of a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Self

INTERVAL_S = 0.1

Sample = tuple[float, float | None]
"""Seconds on some clock, and watts; None where the device did not say."""


def joules(samples: Sequence[Sample]) -> float | None:
    """The area below the samples, by trapezoids; None where one is unknown, or there is but one."""
    known = [(at, watts) for at, watts in samples if watts is not None]
    if len(known) < max(2, len(samples)):
        return None
    return sum((b - a) * (first + second) / 2 for (a, first), (b, second) in pairwise(known))


class Watched:
    """Samples of ``read`` from entering the context to leaving it, one at each end.

    read: what all devices draw now, in watts; it must not raise. Without it nothing is read.
    """

    def __init__(self, read: Callable[[], float | None] | None) -> None:
        self.samples: list[Sample] = []
        self._read = read
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def __enter__(self) -> Self:
        if self._read is not None:
            self._take()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._read is not None:
            self._done.set()
            self._thread.join()
            self._take()

    def _go_on(self) -> None:
        while not self._done.wait(INTERVAL_S):
            self._take()

    def _take(self) -> None:
        assert self._read is not None
        watts = self._read()
        self.samples.append((time.perf_counter(), watts))
