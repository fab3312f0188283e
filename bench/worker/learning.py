"""A training cell inside its worker, with what may follow the timing: training for real.

Worker half.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

from bench import clock, safetensors
from bench.contract import Batches
from bench.worker import samples
from bench.worker.session import Session
from workloads import batches as making

PATIENCE = 4
"""Times as many steps as quality training takes: after these a target is not reached."""
LOOKS = 20
"""Evaluations in as many steps as quality training takes: the target is met within a twentieth."""


class Learning(Session):
    """``bench.worker.session.Session`` with the commands that train at the workload's own rate."""

    COMMANDS = (*Session.COMMANDS, "quality", "target")

    def quality(self) -> dict[str, Any]:
        """Train for real, at the workload's own rate, and record the held-out accuracy."""
        held_out = samples.held_out(self.job, samples.HELD_OUT_BATCH)
        batches = self._batches(self.cell.batch, train_batches=self.job.quality_steps)
        self._begin(Batches(batches.train, held_out))
        self.row["accuracy_start"] = self._accuracy(held_out, first=0)
        for _ in range(self.job.quality_steps):
            self.program.train_step()
        self.row["loss_last"] = self.program.loss()
        self.row["accuracy"] = self._accuracy(held_out, first=0)
        self.row["quality_steps"] = self.job.quality_steps
        return {}

    def target(self, *, accuracy: float) -> dict[str, Any]:
        """Train until the held-out accuracy is that, or for so long that it will not be.

        Timed as MLPerf's time to train is (Mattson et al. 2020), with the first step's compile and
        without the evaluations. The order of the samples is the repeat's own: its seed.
        """
        batch = self.cell.batch * self.cell.world_size
        held_out = samples.held_out(self.job, samples.HELD_OUT_BATCH)
        data = safetensors.read(self.job.data)
        epoch = making.epoch(data, model=self.cell.model, batch=batch, seed=self.job.seed)
        self._begin(Batches(epoch, held_out))
        every = max(1, self.job.quality_steps // LOOKS)
        first, per_step = self._block(1), []
        spent, steps, found = first, 1, 0.0
        while found < accuracy and steps < PATIENCE * self.job.quality_steps:
            block = self._block(every)
            per_step.append(block / every)
            spent, steps = spent + block, steps + every
            found = self._accuracy(held_out, first=0)
        self.row["target_accuracy"] = accuracy
        self.row["target_found"] = found
        if found >= accuracy:
            self.row["target_s"] = spent / 1e9
            self.row["target_samples"] = steps * batch
            self.row["target_compile_s"] = max(0.0, first - statistics.median(per_step)) / 1e9
        return {}

    def _begin(self, batches: Batches) -> None:
        """A fresh program that trains at the workload's own rate."""
        self.program.close()
        cell = replace(self.cell, optimizer=replace(self.cell.optimizer, lr=self.job.quality_lr))
        self.program = self._build(cell, batches)

    def _block(self, steps: int) -> float:
        """Nanoseconds of so many steps, of the slowest process."""
        (taken,) = self._slowest([clock.block(self.program.train_step, self.program.wait, steps)])
        return taken
