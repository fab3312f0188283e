"""Two models side by side in one process: the adapter's, and its framework's own public one.

Worker half. Both learn by the adapter's own training loop from the same batches, so all that
differs is the model. They take turns, block by block, A B B A and then B A A B, so that a machine
that drifts hits both alike.

A module of public models has ``MODELS`` (model -> the public one's name), ``MISSING`` (model ->
the fact why there is none) and ``build(cell, batches) -> Program``, which puts the public model
into the adapter's own training loop. Its weights are its own initial ones: a step takes as long
with any.
"""

from __future__ import annotations

import importlib
import statistics
from importlib import metadata
from typing import Any

from bench import clock, safetensors
from bench.contract import Program, Unsupported
from bench.job import Job
from bench.worker.figures import Times
from workloads import batches as making

TRAIN_BATCHES = 4
OURS, THEIRS = "ours", "theirs"

BLOCK_STEPS = 2
"""At least, behind each discarded one: half of all steps would be discarded with one alone."""


class Duel:
    """State between commands, in the manner of ``bench.worker.session.Session``."""

    COMMANDS = ("start", "build", "warm_up", "round")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.cell = job.cell
        self.row: dict[str, Any] = {}
        self.times = Times()
        self.programs: dict[str, Program] = {}

    def start(self) -> dict[str, Any]:
        """Import both; the public module says which model it takes and what it needs."""
        self.adapter: Any = importlib.import_module(self.job.module)
        self.public: Any = importlib.import_module(self.job.rival)
        if self.cell.model not in self.public.MODELS:
            raise Unsupported(self.public.MISSING[self.cell.model])
        if reason := self.adapter.unsupported(self.cell):
            raise Unsupported(reason)
        self.adapter.setup(self.cell)
        return {
            "version": metadata.version(self.adapter.DIST),
            "public": self.public.MODELS[self.cell.model],
            "settings": self.adapter.effective(self.cell),
        }

    def build(self) -> dict[str, Any]:
        """Build both models. Their parameter counts are part of the answer."""
        batches = making.make(
            safetensors.read(self.job.data),
            model=self.cell.model,
            batch=self.cell.batch,
            train_batches=TRAIN_BATCHES,
            infer_batches=1,
        )
        weights = safetensors.read(self.job.weights)
        ours: Program = self.adapter.build(self.cell, weights, batches)
        theirs: Program = self.public.build(self.cell, batches)
        self.programs = {OURS: ours, THEIRS: theirs}
        return {name: program.n_params for name, program in self.programs.items()}

    def warm_up(self, *, max_blocks: int) -> dict[str, Any]:
        """Until each is steady; then both have blocks of the same number of steps."""
        found = {
            name: clock.warm_up(program.train_step, program.wait, max_blocks=max_blocks)
            for name, program in self.programs.items()
        }
        self.block_steps = max(BLOCK_STEPS, *(warm.block_steps for warm in found.values()))
        return {"block_steps": self.block_steps}

    def round(self, *, first: str) -> dict[str, Any]:
        """One round of four blocks; the mean nanoseconds of a step of each."""
        second = THEIRS if first == OURS else OURS
        taken: dict[str, list[int]] = {OURS: [], THEIRS: []}
        for name in (first, second, second, first):
            program = self.programs[name]
            # The other's working set has filled the caches: the first step is discarded.
            program.train_step()
            taken[name].append(clock.block(program.train_step, program.wait, self.block_steps))
        return {name: statistics.mean(each) / self.block_steps for name, each in taken.items()}
