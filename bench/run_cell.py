"""Run one cell in fresh processes and make its row, whatever happens to them."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import clock, machine
from bench.backends_index import find
from bench.contract import Cell
from bench.envs import Env
from bench.errors import EnvError
from bench.grid import Task
from bench.job import Job
from bench.launch import Child, Ended
from bench.scratch import scratch_folder
from workloads.prepare import Prepared

Row = dict[str, Any]
Times = dict[str, Any]

RUN_COMMANDS = 4  # between them the parent looks at the memory of the process tree
LEAST_WARMUP = 1 + 2 * clock.STEADY_WINDOW  # steps
MAX_BLOCKS = 400
MAX_LATENCIES = 1000
MEASURED_BY_CONSUMER = ("export_rung", "export_max_abs_err", "accuracy", "accuracy_reference")


@dataclass(frozen=True)
class Tools:
    """What running a cell needs from the pilot around it."""

    environment: Callable[[str, str], Env]  # of a backend on a device; raises EnvError
    prepared: Callable[[str, str], Prepared]  # of a model and size
    say: Callable[[str], None]  # the phase, for the progress line
    quality: bool = False
    timeout_s: float | None = None
    memory_limit: int | None = None


@dataclass
class Outcome:
    """A finished cell: measured columns, raw times and what its processes printed."""

    row: Row
    times: Times = field(default_factory=dict)
    log: str = ""


def run_cell(task: Task, tools: Tools) -> Outcome:
    """One row's worth of work. Never raises for what a worker does."""
    started = time.perf_counter()
    outcome = Outcome({"status": "unsupported", "reason": task.refused})
    if task.refused is None:
        try:
            with scratch_folder() as scratch:
                outcome = _Run(task, tools, scratch).outcome()
        except EnvError as error:
            outcome = Outcome({"status": "env_failed", "reason": str(error)})
    outcome.row["wall_s"] = time.perf_counter() - started
    return outcome


def consumer_of(cell: Cell) -> Cell:
    """The cell whose process reads an export back: the registry names the backend for the format.

    Another backend gets its own usual mode, and the CPU where it has no lock for the device: what
    is judged is the file, not the exporter's options.
    """
    backend = find(cell.backend).formats.get(cell.format, cell.backend)
    if backend == cell.backend:
        return cell
    entry = find(backend)
    device = cell.device if cell.device in entry.locks else "cpu"
    return replace(cell, backend=backend, mode=entry.modes[0], device=device, settings={})


class _Run:
    """One cell's processes, which share a scratch folder and a deadline."""

    def __init__(self, task: Task, tools: Tools, scratch: Path) -> None:
        self.task = task
        self.cell = task.cell
        self.tools = tools
        self.scratch = scratch
        self.env = tools.environment(self.cell.backend, self.cell.device)
        self.files = tools.prepared(self.cell.model, self.cell.size)
        self.deadline = time.monotonic() + (tools.timeout_s or task.spec.deadline_s)
        self.logs: list[str] = []

    def outcome(self) -> Outcome:
        found = {"env_lock": self.env.lock, "status": "ok"}
        if self.cell.compile_cache == "warm":
            self._process(self.cell, "train" if self.cell.trains else "export", self._prime)
        if self.cell.trains:
            row, times, ended = self._process(self.cell, "train", self._train)
        else:
            row, times, ended = self._process(self.cell, "export", self._export)
            if ended is None:
                row, times, ended = self._serve(row)
        if ended is not None:
            row |= {"status": ended.status, "reason": ended.reason}
        return Outcome(found | row, times, "".join(self.logs))

    def _process(
        self, cell: Cell, role: str, script: Callable[[Child], None]
    ) -> tuple[Row, Times, Ended | None]:
        """One fresh worker that carries out a script of commands."""
        entry, env = find(cell.backend), self.env
        if cell.backend != self.cell.backend:
            env = self.tools.environment(cell.backend, cell.device)
        folder = self.scratch / f"{role}-{len(self.logs)}"
        with Child(
            env.python,
            self._job(cell, role, entry.module, folder),
            entry=entry,
            scratch=self.scratch,
            caches=self.scratch / "caches",
            memory_limit=self.tools.memory_limit,
        ) as child:
            ended = None
            try:
                script(child)
            except Ended as reason:
                ended = reason
        self.logs.append(f"== {role} {cell.id}\n{child.log.text()}\n")
        row, times = child.row()
        return row, times, ended

    def _job(self, cell: Cell, role: str, module: str, folder: Path) -> Job:
        folder.mkdir()
        cpus = machine.cpus()
        return Job(
            role=role,
            cell=cell,
            module=module,
            weights=self.files.weights if cell.trains else self.files.export_weights,
            data=self.files.data,
            trace=self.files.trace,
            exported=self.scratch / "exported",
            logits=self.scratch / "logits",
            commands=folder / "commands",
            replies=folder / "replies",
            row=folder / "row.json",
            cpus=cpus[: cell.threads],
            parent=os.getpid(),
            quality_steps=self.task.spec.quality_steps,
            quality_lr=self.task.spec.quality_lr,
        )

    def _ask(self, child: Child, do: str, **arguments: Any) -> dict[str, Any]:
        self.tools.say(do)
        return child.ask(do, deadline=self.deadline, **arguments)

    def _prime(self, child: Child) -> None:
        """Fill the compile caches; the process that is measured then finds them warm."""
        self._gate(child)
        self._ask(child, "finish")

    def _gate(self, child: Child) -> None:
        """To the parity gate and through it."""
        self._ask(child, "start")
        self._ask(child, "build")
        steps = LEAST_WARMUP + self.task.spec.steps_min if self.cell.trains else 0
        self._ask(child, "gate", seconds_left=self.deadline - time.monotonic(), steps=steps)

    def _train(self, child: Child) -> None:
        self._gate(child)
        self._measure(child)
        if self.tools.quality:
            self._ask(child, "quality")
        self._ask(child, "finish")

    def _export(self, child: Child) -> None:
        self._gate(child)
        self._ask(child, "export")
        self._ask(child, "finish")

    def _serve(self, exported: Row) -> tuple[Row, Times, Ended | None]:
        """Climb the ladder in a fresh process of the backend that reads the format."""
        cell = consumer_of(self.cell)
        error: list[str] = []

        def script(child: Child) -> None:
            self._ask(child, "start")
            climbed = self._ask(child, "climb")
            if climbed["error"]:
                error.append(climbed["error"])
            if climbed["rung"] not in ("numerics", "dynamic_batch"):
                raise Ended("failed", climbed["error"])
            self._measure(child)
            if climbed["rung"] == "dynamic_batch":
                self._ask(child, "accuracy")
            self._ask(child, "finish")

        served, times, ended = self._process(cell, "serve", script)
        return self._merged(exported, served, cell.backend) | _reason(error), times, ended

    def _merged(self, exported: Row, served: Row, consumer: str) -> Row:
        """The exporter's columns, and from the consumer what only it could measure."""
        taken = {
            key: value
            for key, value in served.items()
            if key not in exported or key in MEASURED_BY_CONSUMER
        }
        for peak in ("peak_host_mib", "peak_device_mib"):
            both = [row[peak] for row in (exported, served) if row.get(peak) is not None]
            taken[peak] = max(both, default=None)
        # What served the file ran under settings of its own, also where it is the same framework.
        served_by = {consumer: served.get("backend_version"), **served.get("settings", {})}
        settings = exported["settings"] | {"consumer": served_by}
        return exported | taken | {"settings": settings}

    def _measure(self, child: Child) -> None:
        spec = self.task.spec
        self._ask(child, "probe")
        warm = self._ask(child, "warm_up", max_blocks=spec.warmup_cap)
        block_s = warm["block_ns"] / 1e9
        blocks = max(math.ceil(spec.measure_s / block_s), spec.steps_min // warm["block_steps"])
        each = max(1, math.ceil(min(blocks, MAX_BLOCKS) / RUN_COMMANDS))
        for _ in range(RUN_COMMANDS):
            self._ask(child, "run", blocks=each)
        step_s = block_s / warm["block_steps"]
        count = max(spec.steps_min, math.ceil(spec.measure_s / 2 / step_s))
        self._ask(child, "latency", count=min(count, MAX_LATENCIES))
        self._ask(child, "probe")


def _reason(errors: list[str]) -> Row:
    return {"reason": errors[0]} if errors else {}
