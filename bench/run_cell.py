"""Run one cell in fresh processes and make its row, whatever happens to them.

A cell is a generator that pauses before every turn of timed blocks: alone it is run to its end at
once, in a fleet (bench/fleet.py) others have their turns in between.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from backends.entry import Entry
from bench import capabilities, clock, machine
from bench.accelerators.devices import Devices
from bench.backends_index import find
from bench.contract import Cell
from bench.envs import Env
from bench.errors import EnvError
from bench.grid import Task
from bench.job import Job
from bench.launch import Child, Ended
from bench.scratch import scratch_folder
from bench.serving import consumer_of, merged
from bench.turns import ALONE, Outcome, Pace, Row, Script, Times, Turns, Watch
from workloads.prepare import Prepared

LEAST_WARMUP = 1 + 2 * clock.STEADY_WINDOW  # steps
MAX_BLOCKS = 400
MAX_LATENCIES = 1000
SLOW_S = 1.0
"""What a step's cold caches cost was seen to be 15 % of 50 ms at most: not 1 % of such a step."""


@dataclass(frozen=True)
class Tools:
    """What running a cell needs from the pilot around it."""

    environment: Callable[[str, str], Env]  # of a backend on a device; raises EnvError
    prepared: Callable[[str, str], Prepared]  # of a model and size
    say: Callable[[str], None]  # the phase, for the progress line
    devices: Devices = field(default_factory=Devices)
    quality: bool = False
    timeout_s: float | None = None
    memory_limit: int | None = None


Found = tuple[Row, Times, Ended | None]
"""What a process left: its columns, its raw times, and why it ended early."""


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
        if reason := _refused(task, tools):
            outcome = Outcome({"status": "unsupported", "reason": reason})
        else:
            with scratch_folder() as scratch:
                outcome = yield from _Run(task, tools, scratch, pace=pace, watch=watch).outcome()
    except EnvError as error:
        outcome = Outcome({"status": "env_failed", "reason": str(error)})
    outcome.row["wall_s"] = watch.seconds()
    return outcome


def _refused(task: Task, tools: Tools) -> str | None:
    """What the plan knew already; or that this backend, or the exported file's reader, lacks the
    device.
    """
    if task.refused is not None:
        return task.refused
    users = {cell.backend: cell for cell in (task.cell, consumer_of(task.cell))}
    lacks = (tools.devices.lacks(cell, tools.environment) for cell in users.values())
    return next(filter(None, lacks), None)


class _Run:
    """One cell's processes, which share a scratch folder and a deadline."""

    def __init__(
        self, task: Task, tools: Tools, scratch: Path, *, pace: Pace, watch: Watch
    ) -> None:
        self.task = task
        self.pace = pace
        self.watch = watch
        self.cell = task.cell
        self.tools = tools
        self.scratch = scratch
        self.env = tools.environment(self.cell.backend, self.cell.device)
        self.gauge = tools.devices.gauge(self.cell)
        self.files = tools.prepared(self.cell.model, self.cell.size)
        self.budget_s = tools.timeout_s or task.spec.deadline_s
        self.logs: list[str] = []

    @property
    def left_s(self) -> float:
        return self.budget_s - self.watch.seconds()

    def outcome(self) -> Turns:
        found = {"env_lock": self.env.lock, "status": "ok"}
        if self.cell.capability:
            row, ended = yield from self._try()
            return self._outcome(found | row, {}, ended)
        if self.cell.compile_cache == "warm":
            role = "train" if self.cell.trains else "export"
            yield from self._process(self.cell, role, self._prime)
        if self.cell.trains:
            row, times, ended = yield from self._process(self.cell, "train", self._train)
        else:
            row, times, ended = yield from self._process(self.cell, "export", self._export)
            if ended is None:
                row, times, ended = yield from self._serve(row)
        return self._outcome(found | row, times, ended)

    def _outcome(self, row: Row, times: Times, ended: Ended | None) -> Outcome:
        if ended is not None:
            row |= {"status": ended.status, "reason": ended.reason}
        return Outcome(row | self.gauge.columns(), times, "".join(self.logs))

    def _try(self) -> Generator[Child | None, None, tuple[Row, Ended | None]]:
        """A capability's processes: what one says last, the next is told with its last command."""
        row: Row = {}
        told: dict[str, Any] = {}

        def script(child: Child, commands: Sequence[str]) -> Script:
            *first, last = commands
            for name in first:
                self._ask(child, name, **self._limits(name))
            told.update(self._ask(child, last, **self._limits(last), **told))
            self._ask(child, "finish")
            yield from ()

        for commands in capabilities.PROCESSES[self.cell.capability]:
            found, _, ended = yield from self._process(
                self.cell, "try", partial(script, commands=commands)
            )
            row |= found
            if ended is not None:
                return row, ended
        return row, None

    def _process(
        self, cell: Cell, role: str, script: Callable[[Child], Script]
    ) -> Generator[Child | None, None, Found]:
        """One fresh worker that carries out a script of commands."""
        entry, env = find(cell.backend), self.env
        if cell.backend != self.cell.backend:
            env = self.tools.environment(cell.backend, cell.device)
        folder = self.scratch / f"{role}-{len(self.logs)}"
        with Child(
            env.python,
            self._job(cell, role, entry, folder),
            entry=entry,
            scratch=self.scratch,
            caches=self.scratch / "caches",
            memory_limit=self.tools.memory_limit,
        ) as child:
            ended = None
            try:
                yield from script(child)
            except Ended as reason:
                ended = reason
        self.logs.append(f"== {role} {cell.id}\n{child.log.text()}\n")
        row, times = child.row()
        return row, times, ended

    def _job(self, cell: Cell, role: str, entry: Entry, folder: Path) -> Job:
        folder.mkdir()
        cpus = machine.cpus()
        ranks = cell.world_size if entry.rank_env else 1
        return Job(
            role=role,
            cell=cell,
            module=entry.module,
            weights=self.files.weights if cell.trains else self.files.export_weights,
            data=self.files.data,
            trace=self.files.trace,
            exported=self.scratch / "exported",
            logits=self.scratch / "logits",
            commands=folder / "commands",
            replies=folder / "replies",
            row=folder / "row.json",
            cpus=cpus[: cell.threads * ranks],
            parent=os.getpid(),
            quality_steps=self.task.spec.quality_steps,
            quality_lr=self.task.spec.quality_lr,
            train_batches=self.task.spec.train_batches,
            capabilities=entry.capabilities,
            ranks=ranks,
            rank_env=entry.rank_env,
            visible=self.tools.devices.share(cell).env,
        )

    def _ask(self, child: Child, do: str, **arguments: Any) -> dict[str, Any]:
        self.tools.say(do)
        reply = child.ask(do, deadline=time.monotonic() + self.left_s, **arguments)
        self.gauge.look(child.pids, context=do == "start")
        return reply

    def _timed(self, child: Child, **arguments: Any) -> None:
        def run() -> list[int]:
            taken: list[int] = self._ask(child, "run", **arguments)["block_ns"]
            return taken

        self.gauge.timed(run)

    def _prime(self, child: Child) -> Script:
        """Fill the compile caches; the process that is measured then finds them warm."""
        self._gate(child)
        self._ask(child, "finish")
        yield from ()

    def _gate(self, child: Child) -> None:
        """To the parity gate and through it."""
        self._ask(child, "start")
        self._ask(child, "build")
        self._ask(child, "gate", **self._limits("gate"))

    def _limits(self, name: str) -> dict[str, Any]:
        """The gate is told how many steps have to follow it, and in which time."""
        if name != "gate":
            return {}
        spec, pace = self.task.spec, self.pace
        timed = spec.steps_min if pace.spread else pace.turns * (1 + pace.discard)
        steps = LEAST_WARMUP + timed if self.cell.trains and not self.cell.capability else 0
        return {"seconds_left": self.left_s, "steps": steps}

    def _train(self, child: Child) -> Script:
        self._gate(child)
        yield from self._measure(child)
        if self.tools.quality and self.task.spec.quality_steps:  # none where data is noise
            self._ask(child, "quality")
        self._ask(child, "finish")

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
        self._ask(child, "probe")
        warm = self._ask(
            child, "warm_up", max_blocks=spec.warmup_cap, min_block_ns=pace.min_block_ns
        )
        block_s = warm["block_ns"] / 1e9
        each = 1
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
