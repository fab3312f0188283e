"""Time steps in blocks between two waits; no framework is known here.

Worker half. A step may only enqueue, so single steps cannot be timed without a wait after each:
throughput comes from blocks, latency from a pass of its own. The estimators are medians, which a
neighbour's burst cannot move (Georges et al. 2007, "Statistically Rigorous Java Performance
Evaluation", argue for steady-state iterations inside each process and replication over processes).
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Step = Callable[[], None]
Agree = Callable[[Sequence[float]], list[float]]
"""``Program.slowest``: what one process has timed -> what the slowest of all has."""

MIN_BLOCK_NS = 50_000_000  # shorter blocks would measure the wait and the clock
SETTLE = 0.1  # jax, slowed by 5 % without it, was measured 2.7 % slower (20 fleets)
STEADY_WINDOW = 3  # blocks that are compared with the same number of blocks before them
STEADY_WITHIN = 0.05  # their medians may differ by this fraction


@dataclass(frozen=True)
class WarmUp:
    """What warming up found: ``block_steps`` steps last about ``block_ns``."""

    block_steps: int
    block_ns: float
    steps: int
    steady: bool


def block(step: Step, wait: Step, steps: int) -> int:
    """Nanoseconds that ``steps`` steps take, from idle device to idle device."""
    wait()
    start = time.perf_counter_ns()
    for _ in range(steps):
        step()
    wait()
    return time.perf_counter_ns() - start


def latencies(step: Step, wait: Step, count: int) -> list[int]:
    """Nanoseconds of ``count`` steps, each waited for."""
    return [block(step, wait, 1) for _ in range(count)]


def slowed(step: Step, wait: Step, *, percent: float) -> None:
    """One step, waited for, and a busy wait of a tenth of it; all that made ``percent`` longer.

    A framework may go on after its results are there, freeing memory in another thread; the tenth
    is for that, in the workers that are not slowed too, or it would be done in the added time.
    """
    start = time.perf_counter_ns()
    step()
    wait()
    done = time.perf_counter_ns()
    until = start + (done - start) * (1 + SETTLE) * (1 + percent / 100)
    while time.perf_counter_ns() < until:
        pass


def warm_up(
    step: Step,
    wait: Step,
    *,
    max_blocks: int,
    min_block_ns: int = MIN_BLOCK_NS,
    slowest: Agree = list,
) -> WarmUp:
    """Run blocks until two neighbouring windows of them agree, or ``max_blocks`` have run.

    One block runs in any case: how long it lasts is part of the answer. Processes that train
    together decide by the ``slowest``: one that went on alone would wait for the others for ever.
    """

    def timed(steps: int) -> float:
        (taken_ns,) = slowest([block(step, wait, steps)])
        return taken_ns

    short = min(min_block_ns, MIN_BLOCK_NS)
    block_steps = _steps_per_block(timed(1), short)
    taken = 1
    per_step: list[float] = []
    while len(per_step) < max(1, max_blocks) and not _steady(per_step):
        per_step.append(timed(block_steps) / block_steps)
        taken += block_steps
        # The first steps are the slowest: a block sized by them alone would be too short.
        block_steps = max(block_steps, _steps_per_block(min(per_step), short))
    step_ns = statistics.median(per_step[-STEADY_WINDOW:])
    # Steadiness shows in short blocks; those that are timed may have to be longer.
    block_steps = max(block_steps, _steps_per_block(step_ns, min_block_ns))
    return WarmUp(block_steps, step_ns * block_steps, taken, _steady(per_step))


def _steps_per_block(step_ns: float, min_block_ns: int) -> int:
    return max(1, math.ceil(min_block_ns / max(step_ns, 1)))


def _steady(per_step: list[float]) -> bool:
    if len(per_step) < 2 * STEADY_WINDOW:
        return False
    before = statistics.median(per_step[-2 * STEADY_WINDOW : -STEADY_WINDOW])
    now = statistics.median(per_step[-STEADY_WINDOW:])
    return abs(now - before) <= STEADY_WITHIN * before


def percentile(values: Sequence[int], percent: float) -> float:
    """Linear interpolation between order statistics (Hyndman & Fan's type 7, numpy's default)."""
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)
