"""What devices a backend really has, asked in a process of its own.

Worker half. A library that looks for its accelerator may hang, crash or take the memory of all
devices: here it costs one question, which the parent bounds with a deadline.
"""

from __future__ import annotations

import importlib
from typing import Any

from bench.job import Job
from bench.worker import ladder
from bench.worker.figures import Times


class Inventory:
    """Answers one command."""

    COMMANDS: tuple[str, ...] = ("devices",)

    def __init__(self, job: Job) -> None:
        self.job = job
        self.row: dict[str, Any] = {}
        self.times = Times()

    def devices(self) -> dict[str, Any]:
        """The kinds of device, and what the framework says where the cell's own is not among them.

        An error while it looks is such a word: it has not what cannot be started.
        """
        adapter: Any = importlib.import_module(self.job.module)
        try:
            found = list(adapter.devices())
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the answer
            return {"devices": [], "words": ladder.first_line(error)}
        wanted = self.job.cell.device
        words = "" if wanted in found else adapter.absent(wanted)
        return {"devices": found, "words": words}
