"""Run a plan: environments, data, cells one after another, and a row for each of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import envs, machine, scratch
from bench.backends_index import find
from bench.errors import EnvError, UsageError
from bench.grid import Task
from bench.progress import Progress
from bench.rows import schema
from bench.rows.files import ResultFile, RowError
from bench.run_cell import Outcome, Row, Tools, consumer_of, run_cell
from workloads.prepare import Prepared


@dataclass(frozen=True)
class Options:
    """How a plan is run, as opposed to what is in it."""

    cluster: str = ""
    pythons: Mapping[str, Path] = field(default_factory=dict)
    quality: bool = False
    timeout_s: float | None = None
    memory_limit: int | None = None


def run(
    tasks: list[Task], results: ResultFile, *, run_id: str, options: Options, console: Console
) -> list[Row]:
    """Run the tasks that ``results`` does not hold yet; every one of them leaves a row.

    An interrupt (SIGINT) leaves a row with status ``interrupted`` and is raised again.
    """
    waiting = [task for task in tasks if task.key not in results.done]
    progress = Progress(console, waiting)
    tools = _tools(options, progress)
    rows = []
    try:
        _make_ready(waiting, tools)
        for task in waiting:
            progress.start(task)
            row = _run_task(task, tools, results, run_id=run_id, options=options)
            progress.finish(task, row)
            rows.append(row)
    finally:
        progress.close()
    return rows


def _make_ready(tasks: list[Task], tools: Tools) -> None:
    """Install and prepare everything first: nothing else may run while a worker measures."""
    cells = [task.cell for task in tasks if task.refused is None]
    for model, size in dict.fromkeys((cell.model, cell.size) for cell in cells):
        tools.prepared(model, size)
    users = [user for cell in cells for user in (cell, consumer_of(cell))]
    # What cannot be built is remembered: its cells become rows.
    envs.each(tools.environment, [(user.backend, user.device) for user in users])


def _run_task(
    task: Task, tools: Tools, results: ResultFile, *, run_id: str, options: Options
) -> Row:
    row = _identity(task, run_id, options.cluster)
    try:
        outcome = run_cell(task, tools)
    except KeyboardInterrupt:
        interrupted = {"status": "interrupted", "reason": "stopped by the user", "wall_s": 0.0}
        results.append(row | interrupted, None)
        raise
    row |= outcome.row
    try:
        results.append(row, outcome.times or None)
    except RowError as error:
        # Figures that contradict each other are worth less than none: the row says so instead.
        row = _identity(task, run_id, options.cluster) | {
            "status": "failed",
            "reason": f"the row contradicts itself: {error}",
            "wall_s": outcome.row["wall_s"],
        }
        results.append(row, outcome.times or None)
    if row["status"] not in ("ok", "unsupported"):
        _keep_log(results.path, task, outcome)
    return row


def _tools(options: Options, progress: Progress) -> Tools:
    @cache
    def environment(backend: str, device: str) -> envs.Env | EnvError:
        try:
            return envs.resolve(backend, device, pythons=options.pythons, log=progress.note)
        except EnvError as error:
            return error  # remembered, so that a broken environment is not built for every cell

    def usable(backend: str, device: str) -> envs.Env:
        found = environment(backend, device)
        if isinstance(found, EnvError):
            raise found
        return found

    return Tools(
        environment=usable,
        prepared=lru_cache(maxsize=None)(prepare),
        say=progress.phase,
        quality=options.quality,
        timeout_s=options.timeout_s,
        memory_limit=options.memory_limit,
    )


def prepare(model: str, size: str) -> Prepared:
    """The workload's files, made by a process of its own: tokenising needs memory that this one,
    which stays alive beside every measurement, should not hold.
    """
    made = subprocess.run(
        [sys.executable, "-m", "workloads.prepare", model, size],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(scratch.ROOT)},
    )
    if made.returncode:
        lines = made.stderr.strip().splitlines() or [f"exit code {made.returncode}"]
        raise UsageError(lines[-1])
    paths: dict[str, str] = json.loads(made.stdout)
    return Prepared(**{name: Path(path) for name, path in paths.items()})


def _identity(task: Task, run_id: str, cluster: str) -> dict[str, Any]:
    """The columns that are known before anything runs."""
    cell = task.cell
    return {
        "schema": schema.VERSION,
        "run_id": run_id,
        "cell_id": cell.id,
        "repeat": task.repeat,
        "started_at": datetime.now(UTC),
        "cluster": cluster,
        "host": machine.host(),
        "backend": cell.backend,
        "workload": cell.workload,
        "model": cell.model,
        "size": cell.size,
        "device": cell.device,
        "device_name": machine.device_name(cell.device),
        "precision": cell.precision,
        "mode": cell.mode,
        "track": cell.track,
        "batch": cell.batch,
        "world_size": cell.world_size,
        "threads": cell.threads,
        "load1": machine.load1(),
        "driver": machine.driver(cell.device),
        "git_rev": machine.git_rev(),
        "compile_cache": cell.compile_cache,
        "export_format": cell.format,
        "settings": dict(cell.settings),
        "archived": find(cell.backend).archived,
    }


def _keep_log(path: Path, task: Task, outcome: Outcome) -> None:
    folder = path.with_suffix(".logs")
    folder.mkdir(exist_ok=True)
    name = f"{task.cell.id.replace('/', '_')}-r{task.repeat}.log"
    (folder / name).write_text(outcome.log)
