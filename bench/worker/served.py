"""A model file of the user's inside its worker: opened, warmed up, and put under loads.

Worker half. What the file's framework knows comes from the module that the backend's entry names
(``serves``), with the functions of ``Serving``.
"""

from __future__ import annotations

import dataclasses
import importlib
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench import clock
from bench.contract import Cell, Incapable, Settings, Unsupported
from bench.job import Job
from bench.parity import relative_error
from bench.worker import feeds, openloop
from bench.worker.feeds import Feed, Input
from bench.worker.figures import Times

WARM_S, WARM_LEAST, WARM_MOST = 1.0, 10, 1000
FULL_LEAST, FULL_MOST = 100, 200_000
PERCENTILES = (50, 95, 99)


class Server(Protocol):
    """An opened file. ``run`` answers one request; its outputs are on the host when it returns."""

    def run(self, index: int) -> Sequence[np.ndarray]: ...
    def facts(self) -> Settings: ...


class Serving(Protocol):
    """The module's names. folder: for files that are made on the way, such as a quantised one."""

    def inputs(self, path: Path) -> list[Input]: ...
    def unsupported(self, cell: Cell) -> str | None: ...
    def serve(self, cell: Cell, path: Path, given: list[Feed], folder: Path) -> Server: ...


class Served:
    """Answers ``inputs``; or ``start``, then ``warm_up`` and any number of ``run``."""

    COMMANDS: tuple[str, ...] = ("inputs", "start", "warm_up", "run", "finish")

    server: Server

    def __init__(self, job: Job) -> None:
        self.job = job
        self.cell = job.cell
        self.row: dict[str, Any] = {}
        self.times = Times()
        self.count = 0

    def inputs(self, *, file: str) -> dict[str, Any]:
        found = self._module().inputs(Path(file))
        return {"inputs": [list(one) for one in found]}

    def start(self, *, file: str, data: str, sizes: dict[str, int]) -> dict[str, Any]:
        """Open the file on the requests; in another precision than float32, compare with that."""
        module, cell = self._module(), self.cell
        if reason := module.unsupported(cell):
            raise Unsupported(reason)
        path, known = Path(file), module.inputs(Path(file))
        fixed = feeds.fixed_batch(known)
        if fixed is not None and fixed != cell.batch:
            raise Unsupported(f"the file was written for batches of {fixed}")
        if data:
            given = feeds.taken(Path(data), known, batch=cell.batch)
        else:
            given = feeds.made(known, batch=cell.batch, sizes=sizes)
        started = time.perf_counter()
        self.server = module.serve(cell, path, given, Path.cwd())
        ready_s = time.perf_counter() - started
        self.count = len(given)
        error = self._error(module, path, given)
        version = metadata.version(importlib.import_module(self.job.module).DIST)
        return {"version": version, "ready_s": ready_s, "output_err": error}

    def warm_up(self, *, seconds: float) -> dict[str, Any]:
        """Requests that are not counted: the first allocate, and clocks rise."""
        openloop.flood(self._serve, seconds=min(seconds, WARM_S), least=WARM_LEAST, most=WARM_MOST)
        return {"settings": self.server.facts()}

    def run(self, *, rate: float | None, seconds: float, count: int, seed: int) -> dict[str, Any]:
        """One load: full where there is no rate, else ``count`` requests at so many a second."""
        if rate is None:
            played = openloop.flood(self._serve, seconds=seconds, least=FULL_LEAST, most=FULL_MOST)
        else:
            arrivals = openloop.poisson(rate, count, seed=seed)
            played = openloop.play(self._serve, arrivals, patience_ns=round(seconds * 1e9))
        return summary(played)

    def finish(self) -> dict[str, Any]:
        return {}

    def _serve(self, index: int) -> None:
        self.server.run(index % self.count)

    def _module(self) -> Serving:
        module: Any = importlib.import_module(self.job.capabilities)
        return module  # type: ignore[no-any-return]

    def _error(self, module: Serving, path: Path, given: list[Feed]) -> float | None:
        """The largest difference of any output from float32's, relative to the largest value."""
        ours = self.server.run(0)
        if not all(np.isfinite(one).all() for one in ours):
            raise Incapable("the file answers with numbers that are not finite")
        if self.cell.precision == "fp32":
            return None
        plain = dataclasses.replace(self.cell, precision="fp32")
        theirs = module.serve(plain, path, given[:1], Path.cwd()).run(0)
        return max(relative_error(one, other) for one, other in zip(ours, theirs))


def summary(played: openloop.Played) -> dict[str, Any]:
    """latency_ms: by percentile, of all requests that came. late_ms: the generator's own error."""
    latencies, late = played.latency_ns, played.late_ns
    served = len(latencies) - played.unserved
    return {
        "requests": len(latencies),
        "unserved": played.unserved,
        "seconds": played.elapsed_ns / 1e9,
        "served_per_s": served / max(played.elapsed_ns, 1) * 1e9,
        "latency_ms": {
            **{f"p{one}": clock.percentile(latencies, one) / 1e6 for one in PERCENTILES},
            "max": max(latencies) / 1e6,
        },
        "late_ms_p99": clock.percentile(late, 99) / 1e6 if late else None,
    }
