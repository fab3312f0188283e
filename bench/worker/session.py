"""One cell inside its worker: the commands that the parent gives, as methods.

Worker half. Each command fills columns of ``row`` and returns what the parent needs to decide what
comes next. Failures are exceptions; ``bench.worker`` turns them into a status.
"""

from __future__ import annotations

import importlib
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from typing import Any, TypeVar

from bench import clock, memory, parity, safetensors
from bench.contract import (
    Adapter,
    Batch,
    Batches,
    Cell,
    ParityError,
    Program,
    Settings,
    Unsupported,
)
from bench.dims import CnnDims
from bench.job import Job
from bench.worker import ladder, probes, ranks, samples, step_memory
from bench.worker.figures import Times, Tokens, figures
from workloads import flops

CALIBRATE = "calibrate"
"""A setting of ``bench calibrate``'s cells: a name, or the percent that each step is slowed by."""
T = TypeVar("T")


class Session:
    """State between commands. ``row`` holds the columns known so far."""

    COMMANDS: tuple[str, ...] = (
        *("start", "build", "gate", "warm_up", "run", "latency", "probe", "finish"),
    )

    def __init__(self, job: Job) -> None:
        self.job = job
        self.cell = job.cell
        self.row: dict[str, Any] = {}
        self.times = Times()
        self.rates: dict[str, float] = {}
        self.tokens: Tokens | None = None
        self.in_force: set[str] = set()  # the settings that framework and program have told of
        self.adapter: Adapter
        self.program: Program
        self.trace: parity.Trace
        self.batches: Batches

    def start(self) -> dict[str, Any]:
        """Import the framework, ask whether it can, and apply the cell's settings."""
        self.adapter = self._timed("import_s", self._import)
        self.row["baseline_host_mib"] = memory.resident_bytes() / 2**20
        self.row["env_python"] = platform.python_version()
        self.row["backend_version"] = metadata.version(self.adapter.DIST)
        if "malloc" in self.cell.settings and platform.libc_ver()[0] != "glibc":
            raise Unsupported("malloc=keep is a setting of glibc's, which this interpreter lacks")
        if reason := self.adapter.unsupported(self.cell):
            raise Unsupported(reason)
        self.adapter.setup(self.cell)
        self.row["settings"] = self._effective()
        if self.cell.device != "cpu" and (kind := self.row["settings"].get("device_kind")):
            self.row["device_name"] = kind  # where no vendor's library says it, as on TPUs
        self._read()
        return {}

    def build(self) -> dict[str, Any]:
        """Build the model on its device."""
        self.program = self._timed("build_s", lambda: self._build(self.cell, self.batches))
        self.row["param_count"] = self.program.n_params
        # Some settings exist only with a model: its layout, its compiler, its optimizer's kind.
        self.row["settings"] = self._effective()
        return {}

    def gate(self, *, seconds_left: float, steps: int) -> dict[str, Any]:
        """The parity gate. A batch other than the reference's gets a program of its own.

        At least ``steps`` steps follow it, and all must be done in ``seconds_left``.
        """
        patience = parity.Patience(seconds_left, steps)
        processes = self.cell.world_size
        if self.cell.trains and self.trace.batch % processes:
            raise Unsupported(
                f"the reference's batch of {self.trace.batch} cannot be shared out to {processes}"
            )
        own = self.cell.trains and self.cell.batch * processes != self.trace.batch
        program = self.program
        if own:
            cell = replace(self.cell, batch=self.trace.batch // processes)
            program = self._build(cell, self._batches(self.trace.batch))
        verdict = self._timed(
            "parity_s", lambda: parity.check(program, self.trace, self.cell, patience=patience)
        )
        if own:
            program.close()
        self.row["parity_logits_err"] = verdict.logits_err
        self.row["parity_loss_err"] = verdict.loss_err
        if verdict.losses:
            self.row["loss_first"], self.row["loss_last"] = verdict.losses[0], verdict.losses[-1]
        if verdict.first_step_ns is not None and not own:
            self.row["first_step_s"] = verdict.first_step_ns / 1e9
        self.row["parity"] = "failed" if verdict.failures else "passed"
        self._note_new_settings()
        if verdict.failures:
            raise ParityError("; ".join(verdict.failures))
        return {}

    def warm_up(self, **limits: int) -> dict[str, Any]:
        """Run until steady, within the limits that ``clock.warm_up`` takes; says how long a block
        of how many steps lasts.
        """
        found = self._timed(
            "warmup_s",
            lambda: clock.warm_up(
                self._step, self.program.wait, slowest=self.program.slowest, **limits
            ),
        )
        self._note_new_settings()
        self.times.block_steps = found.block_steps
        self.row["warmup_steps"] = found.steps
        self.row["settings"]["steady"] = found.steady
        memory.reset_peak()
        return {"block_steps": found.block_steps, "block_ns": found.block_ns}

    def run(self, *, blocks: int, discard: int) -> dict[str, Any]:
        """Time ``blocks`` blocks, after ``discard`` steps that do not count."""

        def timed() -> list[int]:
            steps = self.times.block_steps
            for _ in range(discard):
                self._step()
            return [clock.block(self._step, self.program.wait, steps) for _ in range(blocks)]

        own = self._timed("measure_s", timed)
        taken = self._slowest(own)
        self.times.own_block_ns += own
        self.times.block_ns += taken
        return {"block_ns": taken}

    def latency(self, *, count: int) -> dict[str, Any]:
        """Time ``count`` single steps; blocks of one step are such steps already."""
        steps = list(self.times.block_ns) if self.times.block_steps == 1 else []
        missing = max(0, count - len(steps))
        own = self._timed(
            "measure_s", lambda: clock.latencies(self._step, self.program.wait, missing)
        )
        self.times.step_ns = steps + self._slowest(own)
        self.row["measure_peak_host_mib"] = memory.peak_bytes() / 2**20
        self.row["peak_device_mib"] = self._peak_device_mib()
        if self.cell.trains:
            self.row |= step_memory.columns(
                self.program,
                self._step,
                on_host=self.cell.device == "cpu",
                peak=self._peak_device_mib,
            )
        return {}

    def probe(self) -> dict[str, Any]:
        """The rate of a matrix product in the cell's precision, and the best of any precision."""
        rates = self._timed("measure_s", lambda: probes.gemm_tflops(self.adapter, self.cell))
        # Asked for before and after the timed blocks: a neighbour may slow one of the two.
        for precision, rate in rates.items():
            self.rates[precision] = max(rate, self.rates.get(precision, 0.0))
        self.row["gemm_tflops"] = self.rates.get(self.cell.precision)
        self.row["device_tflops"] = max(self.rates.values(), default=None)
        return {}

    def finish(self) -> dict[str, Any]:
        """Turn the times into figures and read the settings back once more.

        What was timed has its machine's rates measured last: their arrays are no part of its peaks.
        """
        if self.times.block_ns:
            self.row |= figures(self.cell, self.times, known=self.row, tokens=self.tokens)
        before, after = self.row["settings"], self._effective()
        changed = {key: after.get(key) for key in sorted(self.in_force)}  # None: in force no longer
        changed = {key: now for key, now in changed.items() if before.get(key) != now}
        if changed:
            before["changed_while_running"] = changed
        if "peak_device_mib" not in self.row:  # what is timed has it from before its rates
            self.row["peak_device_mib"] = self._peak_device_mib()
        before = self.row.get("measure_peak_host_mib", 0.0)  # it was reset after that
        self.row["peak_host_mib"] = max(memory.peak_bytes() / 2**20, before)
        if self.times.block_ns and self.job.launched:
            self.row |= self._ranks()
        if self.times.block_ns:
            self.program.close()
            self._timed("measure_s", self._machine)
        return {}

    def _ranks(self) -> dict[str, Any]:
        """step_ms: of this process's own median block, its wait for the others included."""
        step_ns = statistics.median(self.times.own_block_ns) / self.times.block_steps
        own = {name: self.row[name] for name in ("peak_host_mib", "peak_device_mib")}
        return ranks.columns(
            {"step_ms": step_ns / 1e6, **own},
            rank=self.job.rank,
            world_size=self.cell.world_size,
            slowest=self.program.slowest,
        )

    def _peak_device_mib(self) -> float | None:
        device_bytes = self.adapter.peak_device_bytes(self.cell)
        return None if device_bytes is None else device_bytes / 2**20

    def _machine(self) -> None:
        self.row["memory_gb_s"] = probes.memory_gb_s(self.adapter, self.cell)
        self.row["launch_us"] = probes.launch_us(self.adapter, self.cell)
        if self.cell.world_size > 1:
            numbers = self.row["param_count"]
            self.row["allreduce_ms"] = probes.allreduce_ms(self.adapter, self.cell, numbers)

    # -- parts

    def _import(self) -> Adapter:
        adapter: Any = importlib.import_module(self.job.module)
        return adapter  # type: ignore[no-any-return]

    def _read(self) -> None:
        """The reference's figures, and the batches."""
        self.trace = parity.read_trace(self.job.trace, trains=self.cell.trains)
        step = self.cell.batch * self.cell.world_size
        self.batches = self._batches(step if self.cell.trains else self.trace.batch)
        timed = self.batches.train if self.cell.trains else [self.batches.infer[ladder.TIMED]]
        self.tokens = Tokens.of(timed)
        self.row["flops_per_sample"] = flops.per_sample(
            self.cell.dims, training=self.cell.trains, counted=self.trace.flops_per_sample
        )

    def _effective(self) -> Settings:
        """What framework and program say is in force, and the CPUs that may be used."""
        facts = self.program.facts() if hasattr(self, "program") else {}
        system: Settings = {"cpus": sorted(os.sched_getaffinity(0))}
        shared = self.cell.world_size > 1 and isinstance(self.cell.dims, CnnDims)
        if shared and hasattr(self, "program"):
            own = self.program.replicas > 1
            system["batch_statistics"] = "of each device's part" if own else "of the whole batch"
        if tunables := os.environ.get("GLIBC_TUNABLES"):
            system["malloc"] = tunables
        found = {**self.adapter.effective(self.cell), **facts, **system}
        self.in_force.update(found)
        return found

    def _note_new_settings(self) -> None:
        """Some show only after a step, as moments do. Others stay: ``finish`` compares them."""
        self.row["settings"] = {**self._effective(), **self.row["settings"]}

    def _slowest(self, own: list[int]) -> list[int]:
        """Of the processes that train together; collectives of nothing are an error for some."""
        return [round(ns) for ns in self.program.slowest(own)] if own else []

    def _step(self) -> None:
        if name := self.cell.settings.get(CALIBRATE):
            percent = float(name) if name.isdigit() else 0.0
            clock.slowed(self._work, self.program.wait, percent=percent)
        else:
            self._work()

    def _work(self) -> None:
        if self.cell.trains:
            self.program.train_step()
        else:
            self.program.infer(ladder.TIMED)

    def _build(self, cell: Cell, batches: Batches) -> Program:
        return self.adapter.build(cell, safetensors.read(self.job.weights), batches)

    def _batches(self, batch: int, **how: int) -> Batches:
        return samples.batches(self.job, self.trace, batch, **how)

    def _accuracy(self, held_out: list[Batch], *, first: int) -> float:
        """Share of right answers; batch ``i`` is the program's infer batch ``first + i``."""
        right = total = 0
        for index, batch in enumerate(held_out):
            self.program.infer(first + index)
            guesses = self.program.logits().argmax(axis=-1)
            right += int((guesses == batch["label"]).sum())
            total += guesses.size
        return right / total

    def _timed(self, column: str, work: Callable[[], T]) -> T:
        """Add the seconds that ``work`` takes to a column."""
        started = time.perf_counter()
        try:
            return work()
        finally:
            self.row[column] = self.row.get(column, 0.0) + time.perf_counter() - started
