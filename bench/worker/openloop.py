"""Requests that come by a plan, whether or not the server is ready for them: an open loop.

Worker half. A client that sends its next request when the last is answered waits with a server
that stalls, and never sees what others' requests would have met meanwhile ("coordinated omission";
Schroeder et al. 2006, "Open Versus Closed: A Cautionary Tale"). So arrivals are planned beforehand,
and a latency counts from the planned arrival, however late the request was taken.

The server takes one request at a time, in the order in which they come. Therefore the queue needs
no thread, which would compete with the server: what has come meanwhile is served next, late.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Serve = Callable[[int], object]
"""Answers the request of this number, and returns when the answer is there."""

SPIN_NS = 1_000_000  # a sleep alone ends 0.05 to 0.2 ms late


@dataclass(frozen=True)
class Clock:
    """now: nanoseconds. sleep: takes seconds."""

    now: Callable[[], int] = time.perf_counter_ns
    sleep: Callable[[float], None] = time.sleep

    def wait_until(self, when_ns: int) -> None:
        """Sleep, and look at the clock for the last millisecond."""
        left = when_ns - self.now() - SPIN_NS
        if left > 0:
            self.sleep(left / 1e9)
        while self.now() < when_ns:
            pass


@dataclass(frozen=True)
class Played:
    """What a load brought; latencies and times in nanoseconds.

    latency_ns: from the planned arrival to the answer; of those never served what they had waited
    by the end, less than their latency would have been. late_ns: how late the idle server got a
    request: the error of the clock and the sleep, not the server's.
    """

    latency_ns: list[int]
    elapsed_ns: int
    unserved: int = 0
    late_ns: list[int] = field(default_factory=list)


def poisson(rate: float, count: int, *, seed: int) -> list[int]:
    """Arrivals in nanoseconds from the start: independent exponential gaps, 1 / rate s on average.

    One seed gives one pattern, stretched: rates are compared under the same bursts.
    """
    draw, at, found = random.Random(seed), 0.0, []
    for _ in range(count):
        at += draw.expovariate(1.0)
        found.append(round(at / rate * 1e9))
    return found


def play(
    serve: Serve, arrivals: Sequence[int], *, patience_ns: int, clock: Clock = Clock()
) -> Played:
    """Serve each request when it comes, or as soon after it as those before it are answered.

    patience_ns: how long after the last arrival to go on with a queue that is not served yet.
    """
    start = clock.now()
    until = arrivals[-1] + patience_ns
    latencies: list[int] = []
    late: list[int] = []
    for index, planned in enumerate(arrivals):
        now = clock.now() - start
        if now >= until:
            break
        if now < planned:
            clock.wait_until(start + planned)
            late.append(clock.now() - start - planned)
        serve(index)
        latencies.append(clock.now() - start - planned)
    elapsed = clock.now() - start
    left = [elapsed - planned for planned in arrivals[len(latencies) :]]
    return Played(latencies + left, elapsed, unserved=len(left), late_ns=late)


def flood(serve: Serve, *, seconds: float, least: int, most: int, clock: Clock = Clock()) -> Played:
    """Full load: the next request is always there. For ``seconds``, but ``least`` to ``most``."""
    start = clock.now()
    latencies: list[int] = []
    before = start
    while len(latencies) < least or (before - start < seconds * 1e9 and len(latencies) < most):
        serve(len(latencies))
        now = clock.now()
        latencies.append(now - before)
        before = now
    return Played(latencies, before - start)
