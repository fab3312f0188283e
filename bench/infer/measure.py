"""One variant of a file in a fresh worker: full load, the rates, and the search for the limit's."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import machine
from bench.accelerators.devices import Devices
from bench.backends_index import find
from bench.child.launch import Child, Ended
from bench.child.scratch import scratch_folder
from bench.contract import Cell
from bench.envs import Env
from bench.infer.options import Rate
from bench.infer.search import highest
from bench.job import Job
from bench.worker.feeds import Input

LEAST = 200  # requests of a load at a rate: of fewer a 99th percentile says little
LONGEST = 4.0  # times a load's seconds, to come to as many
SLACK_S = 600.0  # for opening and quantising a file, and for an overloaded queue

Row = dict[str, Any]


@dataclass(frozen=True)
class Loads:
    """What is asked of every variant. slo_ms: None for no search."""

    file: Path
    data: Path | None
    sizes: Mapping[str, int]
    rates: Sequence[Rate]
    seconds: float
    slo_ms: float | None
    percentile: int


class Variant:
    """A precision and batch of the file, as a cell."""

    def __init__(self, cell: Cell, env: Env, devices: Devices, loads: Loads) -> None:
        self.cell, self.env, self.devices, self.loads = cell, env, devices, loads
        self.known: Row = {"status": "ok", "reason": "", "env_lock": env.lock}

    def inputs(self) -> list[Input]:
        """What the file takes; Ended where it cannot be read."""
        with scratch_folder() as scratch, self._child(scratch) as child:
            found = self._ask(child, "inputs", file=str(self.loads.file))["inputs"]
        return [Input(name, dtype, tuple(shape)) for name, dtype, shape in found]

    def rows(self) -> Iterator[Row]:
        """A row for each load; the reason where the file cannot be run so."""
        try:
            with scratch_folder() as scratch, self._child(scratch) as child:
                yield from self._loads(child)
        except Ended as ended:
            yield self.known | {"status": ended.status, "reason": ended.reason}

    def _loads(self, child: Child) -> Iterator[Row]:
        loads = self.loads
        data = str(loads.data) if loads.data else ""
        opened = self._ask(child, "start", file=str(loads.file), data=data, sizes=loads.sizes)
        self.known |= opened | self._ask(child, "warm_up", seconds=loads.seconds)
        full = self._load(child, "full", None)
        yield full
        held = []
        for rate in loads.rates:
            per_second = rate.per_second(full["served_per_s"])
            name = f"{rate.value:.0%} of full" if rate.share else "rate"
            row = self._load(child, name, per_second)
            held += [per_second] if row.get("holds") else []
            yield row
        if loads.slo_ms is not None:
            known = max(held, default=None)
            yield from self._search(child, full["served_per_s"], known)
        self._ask(child, "finish")

    def _search(self, child: Child, full: float, known: float | None) -> Iterator[Row]:
        """known: a rate that has held already."""
        tried: list[Row] = []

        def holds(rate: float, seed: int) -> bool:
            tried.append(self._load(child, "search", rate, seed=seed))
            return bool(tried[-1]["holds"])

        found = highest(holds, full=full, held=known)
        yield from tried
        yield self.known | {
            "load": "limit",
            "slo_ms": self.loads.slo_ms,
            "percentile": self.loads.percentile,
            "held_per_s": found.held,
            "failed_per_s": found.failed,
        }

    def _load(self, child: Child, name: str, rate: float | None, *, seed: int = 1) -> Row:
        loads = self.loads
        count = requests(rate, loads.seconds) if rate else 0
        found = self._ask(child, "run", rate=rate, seconds=loads.seconds, count=count, seed=seed)
        row = self.known | found | {"load": name, "rate": rate, "seed": seed if rate else None}
        if loads.slo_ms is not None:
            reached = found["latency_ms"][f"p{loads.percentile}"]
            row["holds"] = reached <= loads.slo_ms and not found["unserved"]
            row |= {"slo_ms": loads.slo_ms, "percentile": loads.percentile}
        return row

    def _ask(self, child: Child, do: str, **arguments: Any) -> Row:
        seconds = SLACK_S + 2 * LONGEST * self.loads.seconds
        return child.ask(do, deadline=time.monotonic() + seconds, **arguments)

    def _child(self, scratch: Path) -> Child:
        entry, caches = find(self.cell.backend), scratch / "caches"
        return Child(
            self.env.python, self._job(scratch), entry=entry, scratch=scratch, caches=caches
        )

    def _job(self, scratch: Path) -> Job:
        entry, here = find(self.cell.backend), scratch / "unused"
        return Job(
            role="infer",
            cell=self.cell,
            module=entry.module,
            capabilities=entry.serves,
            weights=here,
            data=here,
            trace=here,
            exported=here,
            logits=here,
            commands=scratch / "commands",
            replies=scratch / "replies",
            row=scratch / "row.json",
            cpus=machine.cpus()[: self.cell.threads],
            parent=os.getpid(),
            visible=self.devices.share(self.cell).env,
        )


def requests(rate: float, seconds: float) -> int:
    """As many as come in ``seconds``, but enough for a 99th percentile, within reason."""
    return max(1, round(rate * seconds), min(LEAST, round(rate * LONGEST * seconds)))


Environment = Callable[[str, str], Env]
