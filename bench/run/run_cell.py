"""Run one cell in fresh processes and make its row, whatever happens to them.

A cell is a generator that pauses before every turn of timed blocks, for others in its fleet.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from bench import machine
from bench.backends_index import find
from bench.child import preallocation
from bench.child.launch import LAST, Child, Ended
from bench.child.scratch import scratch_folder
from bench.contract import Cell
from bench.errors import EnvError
from bench.grid import Task
from bench.run.attempt import attempt
from bench.run.jobs import job_of
from bench.run.neighbours import Neighbours
from bench.run.serving import consumer_of, merged
from bench.run.told import Told
from bench.run.tools import Tools
from bench.run.turns import (
    ALONE,
    LEAST_WARMUP,
    MAX_BLOCKS,
    MAX_LATENCIES,
    SLOW_S,
    Found,
    Outcome,
    Pace,
    Row,
    Script,
    Times,
    Turns,
    Watch,
)
from bench.trials import BATCH, COMMANDS, CONTEXT, FEW_STEPS, TRIAL


def run_cell(task: Task, tools: Tools) -> Outcome:
    """One row's worth of work, alone. Never raises for what a worker does."""
    turns = cell_turns(task, tools, ALONE)
    while True:
        try:
            next(turns)
        except StopIteration as ended:
            outcome: Outcome = ended.value
            return outcome


def cell_turns(task: Task, tools: Tools, pace: Pace) -> Turns:
    """The same in ``pace.turns`` turns: it pauses before each, and once more after the last."""
    watch = Watch()
    try:
        if reason := tools.refused(task):
            outcome = Outcome({"status": "unsupported", "reason": reason})
        else:
            with scratch_folder() as scratch:
                outcome = yield from _Run(task, tools, scratch, pace=pace, watch=watch).outcome()
    except EnvError as error:
        outcome = Outcome({"status": "env_failed", "reason": str(error)})
    except OSError as error:
        outcome = Outcome({"status": "failed", "reason": f"no worker could be started: {error}"})
    outcome.row["wall_s"] = watch.seconds()
    return outcome


class _Run:
    """One cell's processes, which share a scratch folder and a deadline."""

    def __init__(
        self, task: Task, tools: Tools, scratch: Path, *, pace: Pace, watch: Watch
    ) -> None:
        self.task = task
        self.pace = pace
        self.watch = watch
        self.cell = task.cell
        self.trial = task.cell.settings.get(TRIAL)
        self.tools = tools
        self.scratch = scratch
        self.env = tools.environment(self.cell.backend, self.cell.device)
        self.gauge = tools.devices.gauge(self.cell)
        self.neighbours = Neighbours(machine.cpus())
        self.budget_s = tools.timeout_s or task.spec.deadline_s
        self.told = Told(task)
        self.probed: Child | None = None

    @property
    def left_s(self) -> float:
        return self.budget_s - self.watch.seconds()

    def outcome(self) -> Turns:
        found = {"env_lock": self.env.lock, "status": "ok"}
        if self.cell.capability:
            row, ended = yield from attempt(
                self.cell, process=self._process, ask=self._ask, limits=self._limits
            )
            return self._outcome(found | row, {}, ended)
        if self.cell.compile_cache == "warm":
            yield from self._process(self.cell, self.cell.role, self._prime)
        if not self.cell.format:
            script = self._few_steps if self.trial else self._steps
            row, times, ended = yield from self._process(self.cell, self.cell.role, script)
        else:
            row, times, ended = yield from self._process(self.cell, "export", self._export)
            if ended is None:
                row, times, ended = yield from self._serve(row)
        if preallocation.pools(self.cell, find(self.cell.backend)):
            how = yield from self._preallocation(measured=ended is None and not self.trial)
            row["settings"] = {
                **row.get("settings", self.cell.settings),
                preallocation.SETTING: how,
            }
        return self._outcome(found | row, times, ended)

    def _preallocation(self, *, measured: bool) -> Generator[Child | None, None, str]:
        """How memory was taken, in words. The driver's figures are those of a process without a
        pool; where there is none, they are not known.
        """
        if asked := self.cell.settings.get(preallocation.SETTING):
            if asked == preallocation.ON:
                self.gauge.pooled(self.gauge)
            return asked
        if not (measured and self.cell.trains and self.gauge.peak_mib is not None):
            self.gauge.pooled(None)
            return preallocation.ON
        timed = self.gauge
        try:
            self.gauge = self.tools.devices.gauge(self.cell)  # waits until the first one's is free
            cell = preallocation.without(self.cell)
            *_, ended = yield from self._process(cell, "train", self._few_steps)
        except EnvError as error:
            ended = Ended("env_failed", str(error))
        other, self.gauge = self.gauge, timed
        self.gauge.pooled(None if ended else other)
        return f"on for speed; off: {ended.reason}" if ended else preallocation.BOTH

    def _outcome(self, row: Row, times: Times, ended: Ended | None) -> Outcome:
        if ended is not None:
            row |= {"status": ended.status, "reason": ended.reason}
        row |= self.gauge.columns() | self.neighbours.columns()
        return Outcome(row, times, "".join(self.told.printed), self.told.tail)

    def _process(
        self, cell: Cell, role: str, script: Callable[[Child], Script]
    ) -> Generator[Child | None, None, Found]:
        """One fresh worker that carries out a script of commands."""
        entry, env = find(cell.backend), self.env
        if cell.backend != self.cell.backend:
            env = self.tools.environment(cell.backend, cell.device)
        folder = self.scratch / f"{role}-{len(self.told.printed)}"
        with Child(
            env.python,
            job_of(self.task, self.tools, cell, role=role, entry=entry, folder=folder),
            entry=entry,
            scratch=self.scratch,
            caches=self.scratch / "caches",
            memory_limit=self.tools.memory_limit,
        ) as child:
            self.told.started(child)
            ended = None
            try:
                yield from script(child)
            except Ended as reason:
                ended = reason
        row, times, ended = child.found(ended)
        self.told.ended(child, ended)
        return row, times, ended

    def _ask(self, child: Child, do: str, **arguments: Any) -> dict[str, Any]:
        self.tools.say(do)
        self.told.phase(child, do)
        reply = child.ask(do, deadline=time.monotonic() + self.left_s, **arguments)
        if do == "probe":
            self.probed = child  # a framework may keep the memory of the products' matrices
        if do != LAST and child is not self.probed:
            self.gauge.look(child.pids, context=do in CONTEXT)
        return reply

    def _timed(self, child: Child, **arguments: Any) -> None:
        with self.neighbours.watched(child.pids):
            self.gauge.timed(lambda: self._ask(child, "run", **arguments)["block_ns"])

    def _prime(self, child: Child) -> Script:
        """Fill the compile caches; the process that is measured then finds them warm."""
        self._gate(child)
        self._ask(child, "finish")
        yield from ()

    def _gate(self, child: Child, *, steps: int | None = None) -> None:
        """To the parity gate and through it; ``steps`` follow, or as many as timing takes."""
        self._ask(child, "start")
        self._ask(child, "build")
        limits = self._limits("gate")
        self._ask(child, "gate", **(limits if steps is None else limits | {"steps": steps}))

    def _limits(self, name: str) -> dict[str, Any]:
        """The gate is told how many steps have to follow it, and in which time."""
        if name != "gate":
            return {}
        spec, pace = self.task.spec, self.pace
        timed = spec.steps_min if pace.spread else pace.turns * (1 + pace.discard)
        steps = LEAST_WARMUP + timed if self.cell.trains and not self.cell.capability else 0
        return {"seconds_left": self.left_s, "steps": steps}

    def _steps(self, child: Child) -> Script:
        """Of training or of generating, timed."""
        self._gate(child)
        yield from self._measure(child)
        learns = self.cell.trains and self.task.spec.quality_steps  # none where data is noise
        if self.tools.quality and learns:
            self._ask(child, "quality")
        if learns and (accuracy := self.tools.target_of(self.task.spec)):
            self._ask(child, "target", accuracy=accuracy)
        self._ask(child, "finish")

    def _few_steps(self, child: Child) -> Script:
        """Where nothing is timed: a trial, or to see the memory that a cell takes."""
        self._gate(child, steps=FEW_STEPS)
        for name, arguments in COMMANDS[self.trial or BATCH]:
            self._ask(child, name, **arguments)
        self._ask(child, "finish")
        yield from ()

    def _export(self, child: Child) -> Script:
        self._gate(child)
        self._ask(child, "export")
        self._ask(child, "finish")
        yield from ()

    def _serve(self, exported: Row) -> Generator[Child | None, None, Found]:
        """Climb the ladder in a fresh process of the backend that reads the format."""
        cell = consumer_of(self.cell)
        error: list[str] = []

        def script(child: Child) -> Script:
            self._ask(child, "start")
            climbed = self._ask(child, "climb")
            if climbed["error"]:
                error.append(climbed["error"])
            if climbed["rung"] not in ("numerics", "dynamic_batch"):
                raise Ended("failed", climbed["error"])
            yield from self._measure(child)
            if climbed["rung"] == "dynamic_batch":
                self._ask(child, "accuracy")
            self._ask(child, "finish")

        served, times, ended = yield from self._process(cell, "serve", script)
        row = merged(exported, served, consumer=cell.backend)
        return row | ({"reason": error[0]} if error else {}), times, ended

    def _measure(self, child: Child) -> Script:
        spec, pace = self.task.spec, self.pace
        # An accelerator has no neighbours, and its peaks would be those of the probe's matrices.
        if self.cell.device == "cpu":
            self._ask(child, "probe")
        warm = self._ask(
            child, "warm_up", max_blocks=spec.warmup_cap, min_block_ns=pace.min_block_ns
        )
        block_s, each = warm["block_ns"] / 1e9, 1
        if pace.spread:
            blocks = max(math.ceil(spec.measure_s / block_s), spec.steps_min // warm["block_steps"])
            each = max(1, math.ceil(min(blocks, MAX_BLOCKS) / pace.turns))
        step_s = block_s / warm["block_steps"]
        discard = pace.discard if step_s < SLOW_S else 0
        for _ in range(pace.turns):
            yield from self.watch.pause(child)
            self._timed(child, blocks=each, discard=discard)
        yield from self.watch.pause(None)
        # Of slow steps the blocks are enough: each is one.
        least = spec.steps_min if step_s < SLOW_S else 1
        count = max(least, math.ceil(spec.measure_s / 2 / step_s))
        self._ask(child, "latency", count=min(count, MAX_LATENCIES))
        self._ask(child, "probe")
