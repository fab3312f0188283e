"""The baton: several cells alive together, of which one computes at a time.

Each worker is started, gated and warmed up while those before it sleep; then they take turns, a
block each, and finish one after another. A worker sleeps where it waits for its next command: in
the kernel, on its pipe. Its framework's threads may spin on for a while after a turn, so the next
turn begins when the whole fleet has fallen silent.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench import memory, schedule
from bench.child.launch import Child
from bench.grid import Task
from bench.run.run_cell import cell_turns
from bench.run.tools import Tools
from bench.run.turns import Outcome, Pace, Turns
from bench.schedule import Fleet

MIN_BLOCK_NS = 150_000_000  # as measured with eight kinds of worker: longer blocks bought nothing
DISCARD = 1  # the first step of a turn is 3 to 15 % slower than the next

PAUSE_S = 0.015  # what libgomp's threads spin for after a turn is 7 to 11 ms
LISTEN_S = 0.01
SILENT = 0.1  # CPU seconds a second of a worker that waits: above it something spins
PATIENCE_S = 0.5  # PaddlePaddle's threads spin for about 0.2 s


@dataclass
class _Member:
    """One cell of the fleet. ``idle_s``: how long it has been looked at while others had turns."""

    task: Task
    turns: Turns
    worker: Child | None = None
    outcome: Outcome | None = None
    spun_s: float = 0.0
    idle_s: float = 0.0

    def go_on(self) -> None:
        """One turn, or all of what is left once there are none."""
        try:
            self.worker = next(self.turns)
        except StopIteration as ended:
            self.worker, self.outcome = None, ended.value

    def cpu_s(self) -> float:
        return memory.cpu_seconds(self.worker.pid) if self.worker is not None else 0.0


def run(
    tasks: Fleet, tools: Tools, *, seed: int, begin: Callable[[Task], None]
) -> Iterator[tuple[Task, Outcome]]:
    """Each task with its outcome, as they end; closing the iterator ends all workers.

    begin: told which worker starts or ends, while nothing is being timed.
    """
    turns = 2 * schedule.rounds(len(tasks))
    pace = Pace(turns=turns, discard=DISCARD, min_block_ns=MIN_BLOCK_NS, spread=False)
    members = [_Member(task, cell_turns(task, tools, pace)) for task in tasks]
    name = uuid.uuid4().hex[:8]
    try:
        for member in members:
            begin(member.task)
            member.go_on()
        for place in schedule.order(len(members), seed=f"{seed}/{name}"):
            _turn(members, members[place])
        for member in members:
            begin(member.task)
            yield member.task, _finished(member, name)
    finally:
        for member in members:
            member.turns.close()


def _turn(members: list[_Member], one: _Member) -> None:
    """A block of one, and what the others computed meanwhile."""
    if one.worker is None:
        return  # it ended early
    _silence(members)
    others = [member for member in members if member is not one and member.worker is not None]
    before = [member.cpu_s() for member in others]
    started = time.perf_counter()
    one.go_on()
    seconds = time.perf_counter() - started
    for member, spent in zip(others, before, strict=True):
        member.spun_s += member.cpu_s() - spent
        member.idle_s += seconds


def _silence(members: list[_Member]) -> None:
    """Sleep until no worker computes any more, but not for ever."""
    time.sleep(PAUSE_S)
    until = time.perf_counter() + PATIENCE_S
    while time.perf_counter() < until:
        before = sum(member.cpu_s() for member in members)
        time.sleep(LISTEN_S)
        if sum(member.cpu_s() for member in members) - before < SILENT * LISTEN_S:
            return


def _finished(member: _Member, name: str) -> Outcome:
    while member.outcome is None:
        member.go_on()
    if member.idle_s:
        idle_cpu = max(0.0, member.spun_s / member.idle_s)
        member.outcome.row |= {"fleet": name, "idle_cpu": idle_cpu}
    return member.outcome
