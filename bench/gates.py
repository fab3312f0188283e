"""``bench parity``: the parity gate of each cell, and nothing else."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from bench import backends_index, envs, grid, machine, options
from bench.check_backend.workers import Workers
from bench.contract import Cell
from bench.envs import Env
from bench.errors import EXIT_NO, EXIT_NOTHING, EXIT_OK, EnvError, UsageError
from bench.grid import Task
from bench.run import preparing

MEASURED = (
    *("backend_version", "param_count", "parity", "parity_logits_err", "parity_loss_err"),
    *("tokens_equal", "peak_host_mib", "parity_s"),
)
"""Columns of a row (results/SCHEMA.md) that a gate fills."""

Found = dict[str, Any]


def run(arguments: argparse.Namespace) -> int:
    """One line a cell, as they end."""
    asked = options.request(arguments, say=print)
    tasks = _gates(grid.plan(asked, entry=backends_index.find))
    if not tasks:
        raise UsageError("no such cell has a gate of its own: exports are judged by bench run")
    workers = _workers(arguments)
    statuses = []
    for found in _answers(tasks, workers, timeout_s=arguments.timeout):
        statuses.append(found["status"])
        line = json.dumps(found)
        print(line if arguments.json else told(found), flush=True)
        if arguments.out:
            _add(arguments.out, line)
    if "ok" not in statuses:
        return EXIT_NOTHING
    return EXIT_OK if set(statuses) <= {"ok", "unsupported"} else EXIT_NO


def told(found: Found) -> str:
    """A cell's gate in a line."""
    if found["status"] != "ok":
        return f"{found['cell_id']}: {found['status']}: {found['reason']}"
    took = f"{found['seconds']:.0f} s, {found['peak_host_mib']:.0f} MiB"
    return f"{found['cell_id']}: passed: {deviations(found)}, {took}"


def deviations(found: Found) -> str:
    """Of a gate that passed, from the float64 reference."""
    said = [f"logits {found['parity_logits_err']:.1e}"]
    if found["parity_loss_err"] is not None:
        said.append(f"losses {found['parity_loss_err']:.1e}")
    if found["tokens_equal"] is not None:
        said.append(f"{found['tokens_equal']:.0%} of tokens equal")
    return ", ".join(said)


def _gates(tasks: Sequence[Task]) -> list[Task]:
    """Each cell once, at the batch that the reference was made with: one program is enough."""
    asked = [task for task in tasks if not (task.cell.format or task.cell.capability)]
    made = {}
    for task in asked:
        batch = task.spec.gate_batch or task.spec.batch
        cell = replace(task.cell, batch=batch) if task.cell.trains else task.cell
        refused = task.refused
        if cell.world_size > 1:
            refused = refused or "bench parity asks one process: bench run has the gate of several"
        made[cell.id] = replace(task, cell=cell, refused=refused)
    return list(made.values())


def _workers(arguments: argparse.Namespace) -> Workers:
    pythons = options.pythons(arguments.python)

    @cache
    def environment(backend: str, device: str) -> Env:
        return envs.resolve(backend, device, pythons=pythons, log=print)

    workers = Workers(environment, options.devices(arguments))
    prepared = partial(preparing.of, arguments.catalogue, environment, print)
    workers.prepared = cache(prepared)
    return workers


def _answers(tasks: Sequence[Task], workers: Workers, *, timeout_s: float) -> Iterator[Found]:
    for task in tasks:
        started, before = datetime.now(UTC), time.monotonic()
        found = _answer(task, workers, timeout_s=timeout_s)
        yield {
            **_identity(task.cell, started),
            **dict.fromkeys(("reason", "env_lock", *MEASURED)),
            **found,
            "seconds": round(time.monotonic() - before, 1),
        }


def _answer(task: Task, workers: Workers, *, timeout_s: float) -> Found:
    cell = task.cell
    if task.refused:
        return {"status": "unsupported", "reason": task.refused}
    try:
        env = workers.environment(cell.backend, cell.device)
        if lacks := workers.devices.lacks(cell, workers.environment):
            return {"status": "unsupported", "reason": lacks}
        row, ended = workers.gated(cell, timeout_s=timeout_s)
    except EnvError as error:
        return {"status": "env_failed", "reason": str(error)}
    known = {name: row[name] for name in MEASURED if name in row} | {"env_lock": env.lock}
    if ended is not None:
        return known | {"status": ended.status, "reason": ended.reason}
    return known | {"status": "ok", "reason": None}


def _identity(cell: Cell, started: datetime) -> Found:
    names = ("backend", "workload", "model", "size", "device", "precision", "mode", "track")
    facts = {name: getattr(cell, name) for name in (*names, "batch", "threads")}
    at = started.isoformat(timespec="seconds")
    where = {"host": machine.host(), "device_name": machine.device_name(cell.device)}
    return {"cell_id": cell.id, "started_at": at, "git_rev": machine.git_rev(), **where, **facts}


def _add(path: Path, line: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
