"""The workers that a check starts: one that answers questions, two that try an export."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bench import machine
from bench.accelerators.devices import Devices
from bench.backends_index import find
from bench.child.launch import Child, Ended
from bench.child.scratch import scratch_folder
from bench.contract import GENERATE, Cell
from bench.envs import Env
from bench.errors import EnvError
from bench.job import Job
from bench.run.serving import consumer_of
from workloads import prepare

STEP_S = 600.0
"""Of one question or command: the framework's import is in the first, and a compiler in others."""

Reply = Mapping[str, Any]


class Workers:
    """environment: of a backend on a device; raises EnvError."""

    def __init__(self, environment: Callable[[str, str], Env], devices: Devices) -> None:
        self.environment = environment
        self.devices = devices
        self.prepared: Callable[[str, str], prepare.Prepared] = cache(prepare.ensure)

    def answers(self, cell: Cell, questions: Collection[str]) -> Iterator[tuple[str, Reply]]:
        """One worker answers until a question ends it; a fresh one goes on with the next."""
        left = list(questions)
        while left:
            with scratch_folder() as scratch, self._child(cell, "check", scratch) as child:
                alive = True
                while left and alive:
                    what = left.pop(0)
                    try:
                        reply = _ask(child, "ask", what=what)
                    except Ended as ended:
                        reply, alive = {"error": f"{ended.status}: {ended.reason}"}, False
                    yield what, reply

    def climbed(self, cell: Cell) -> Reply:
        """How far up the ladder an export gets in a process of the backend that reads it; untimed.

        status and reason; rung and max_abs_err where it got onto the ladder.
        """
        found: dict[str, Any] = {"status": "ok", "reason": None, "rung": "none"}
        with scratch_folder() as scratch:
            try:
                with self._child(cell, "export", scratch) as child:
                    for do in ("start", "build", "export", "finish"):
                        _ask(child, do)
                with self._child(consumer_of(cell), "serve", scratch) as child:
                    _ask(child, "start")
                    climb = _ask(child, "climb")
                    row, _ = child.row()
            except Ended as ended:
                return found | {"status": ended.status, "reason": ended.reason}
            except EnvError as error:
                return found | {"status": "env_failed", "reason": str(error)}
        return found | {
            "reason": climb["error"],
            "rung": climb["rung"],
            "max_abs_err": row["export_max_abs_err"],
        }

    def gated(self, cell: Cell, *, timeout_s: float) -> tuple[Reply, Ended | None]:
        """The columns that a cell's gate fills, and why it did not pass, or was not reached."""
        deadline, ended = time.monotonic() + timeout_s, None
        with scratch_folder() as scratch, self._child(cell, cell.role, scratch) as child:
            try:
                child.ask("start", deadline=deadline)
                child.ask("build", deadline=deadline)
                left = deadline - time.monotonic()
                child.ask("gate", deadline=deadline, seconds_left=left, steps=0)
            except Ended as reason:
                ended = reason
            row, _, ended = child.found(ended)
            return row, ended

    def _child(self, cell: Cell, role: str, scratch: Path) -> Child:
        python = self.environment(cell.backend, cell.device).python
        job = self._job(cell, role, scratch)
        caches = scratch / "caches"
        return Child(python, job, entry=find(cell.backend), scratch=scratch, caches=caches)

    def _job(self, cell: Cell, role: str, scratch: Path) -> Job:
        files, entry = self.prepared(cell.model, cell.size), find(cell.backend)
        folder = scratch / role
        folder.mkdir()
        return Job(
            role=role,
            cell=cell,
            module=entry.module,
            weights=files.weights if cell.trains else files.export_weights,
            data=files.data,
            trace=files.trace,
            exported=scratch / "exported",
            logits=scratch / "logits",
            commands=folder / "commands",
            replies=folder / "replies",
            row=folder / "row.json",
            cpus=machine.cpus()[: cell.threads],
            parent=os.getpid(),
            capabilities=entry.generates if role == GENERATE else entry.capabilities,
            visible=self.devices.share(cell).env,
        )


def _ask(child: Child, do: str, **arguments: Any) -> dict[str, Any]:
    return child.ask(do, deadline=time.monotonic() + STEP_S, **arguments)
