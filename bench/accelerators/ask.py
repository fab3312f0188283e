"""Ask a backend for its devices, in a process of its own and with a deadline."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from bench.accelerators.choose import Share
from bench.backends_index import find
from bench.child.launch import Child, Ended
from bench.child.scratch import scratch_folder
from bench.contract import Cell
from bench.job import Job
from workloads import catalogue

DEADLINE_S = 180.0
"""A first import from a network file system takes minutes; what finds no TPU may wait for ever."""


@dataclass(frozen=True)
class Answer:
    """devices: the kinds that work there. words: why the kind asked for does not, or ""."""

    devices: tuple[str, ...]
    words: str


def ask(cell: Cell, python: Path, mine: Share, *, deadline_s: float = DEADLINE_S) -> Answer:
    """What the cell's backend has, as far as it may see ``mine``; whatever happens is an answer."""
    entry = find(cell.backend)
    with scratch_folder() as scratch:
        with Child(
            python,
            _job(cell, scratch, mine),
            entry=entry,
            scratch=scratch,
            caches=scratch / "caches",
        ) as child:
            try:
                reply = child.ask("devices", deadline=time.monotonic() + deadline_s)
            except Ended as ended:
                if ended.status == "timeout":
                    return Answer((), f"it did not answer within {deadline_s:.0f} s")
                return Answer((), ended.reason)
        return Answer(tuple(reply["devices"]), reply["words"])


def question(backend: str, device: str, settings: Mapping[str, str] | None = None) -> Cell:
    """A cell that only asks; nothing of it is run."""
    spec = catalogue.size("cnn", "cnn", "tiny")
    return Cell(
        backend=backend,
        workload="cnn",
        model="cnn",
        size="tiny",
        device=device,
        precision="fp32",
        mode=find(backend).modes[0],
        track="out-of-box",
        batch=spec.batch,
        dims=spec.dims,
        optimizer=spec.optimizer,
        settings=settings or {},
    )


def _job(cell: Cell, folder: Path, mine: Share) -> Job:
    return Job(
        role="devices",
        cell=cell,
        module=find(cell.backend).module,
        weights=folder,
        data=folder,
        trace=folder,
        exported=folder,
        logits=folder,
        commands=folder / "commands",
        replies=folder / "replies",
        row=folder / "row.json",
        cpus=machine.cpus(),
        parent=os.getpid(),
        visible=mine.env,
    )
