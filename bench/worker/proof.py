"""A trial inside its worker: does ``wait`` block, and is memory counted? Worker half.

What was found goes into the row's settings; the parent judges it.
"""

from __future__ import annotations

import time
from typing import Any

from bench import clock
from bench.contract import Kernel
from bench.trials import BLOCKS, HELD_NUMBERS, TRIED
from bench.worker.session import Session

TRIES = 5


class Proof(Session):
    """``bench.worker.session.Session`` with the commands of trials."""

    COMMANDS = ("start", "build", "gate", "latency", "blocks", "touch", "hold", "finish")

    held: Kernel

    def blocks(self) -> dict[str, Any]:
        """Nanoseconds of blocks of 1, 2, 4 and 8 steps, and of reading the loss after the last.

        A ``wait`` that does not block leaves the work to whoever asks for a result. The least of
        several tries, for neighbours only add, and all sizes in turns, for they come and go.
        """
        taken: dict[int, list[int]] = {steps: [] for steps in BLOCKS}
        losses = []
        for _ in range(TRIES):
            for steps in BLOCKS:
                taken[steps].append(clock.block(self._step, self.program.wait, steps))
            started = time.perf_counter_ns()
            self.program.loss()
            losses.append(time.perf_counter_ns() - started)
        least = [min(taken[steps]) for steps in BLOCKS]
        self._note(block_steps=list(BLOCKS), block_ns=least, loss_ns=min(losses))
        return {}

    def touch(self) -> dict[str, Any]:
        """Use the device once, so that all is there which any program needs."""
        self._stream(1)
        return {}

    def hold(self) -> dict[str, Any]:
        """Hold an array of a known size on the device, and the result of a kernel on it."""
        before = self.adapter.peak_device_bytes(self.cell)
        self.held = self._stream(HELD_NUMBERS if self.cell.device != "cpu" else 1)
        after = self.adapter.peak_device_bytes(self.cell)
        grown = None if before is None or after is None else (after - before) / 2**20
        self._note(held_mib=4 * HELD_NUMBERS / 2**20, framework_mib=grown)
        return {}

    def _stream(self, numbers: int) -> Kernel:
        kernel = self.adapter.stream(self.cell, numbers)
        kernel.run()
        kernel.wait()
        return kernel

    def _note(self, **facts: Any) -> None:
        self.row["settings"] = {**self.row["settings"], TRIED: facts}
