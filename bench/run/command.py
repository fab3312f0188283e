"""``bench run`` and ``calibrate``: plan, run, print; the rows are on disk one by one."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import backends_index, grid, nodes, options, table, targets
from bench.errors import EXIT_NO, EXIT_NOTHING, EXIT_OK, UsageError
from bench.infer import options as infer_options
from bench.report import options as report_options
from bench.rows import files, places, schema
from bench.run import batch_search, neighbours, pilot


def run(arguments: argparse.Namespace) -> int:
    """``bench run``."""
    if infer_options.asked(arguments):
        from bench.infer import command as infer  # noqa: PLC0415  # imports scipy

        return infer.run(arguments)
    # The table is for people and for pipes; progress goes where it cannot disturb either.
    console = Console(stderr=arguments.json, highlight=False)
    asked = options.request(arguments, say=partial(console.print, soft_wrap=True, markup=False))
    tasks = grid.plan(asked, entry=backends_index.find)
    search = batch_search.Search(tasks) if arguments.find_max_batch else None
    tasks = search.first if search else tasks
    manner = how(arguments, again=search.next if search else _again(arguments, tasks))
    with _results(arguments) as (file, run_id), stoppable():
        pilot.run(tasks, file, run_id=run_id, options=manner, console=console)
    rows = file.rows if search else _in_order(file.rows, tasks)
    if arguments.json:
        print(json.dumps({"out": str(file.path), "rows": [schema.text(row) for row in rows]}))
    else:
        table.render(rows, console=console)
        console.print(f"\n{table.summary(rows)}", soft_wrap=True)
        for line in search.lines(rows) if search else _detectable(file):
            console.print(line, soft_wrap=True, markup=False)
        for line in neighbours.told(rows):
            console.print(line, style="yellow", soft_wrap=True, markup=False)
        if any(row["world_size"] > 1 for row in rows):
            from bench import scaling  # noqa: PLC0415  # imports scipy

            scaling.render(scaling.scalings(rows), console)
        targets.render(targets.reached(rows), console)
        console.print(f"results: {file.path}", soft_wrap=True)
        if arguments.report:
            from bench.report import command  # noqa: PLC0415  # imports pandas and Altair

            page = report_options.of(file.path, spec=arguments.spec)
            for line in command.beside(page):
                console.print(line, soft_wrap=True, markup=False)
    return _exit_code(search.judged(rows) if search else rows, strict=arguments.strict)


def _in_order(rows: Sequence[schema.Row], tasks: Sequence[grid.Task]) -> list[schema.Row]:
    """Of the plan: they ran in a random one."""
    planned = {cell: at for at, cell in enumerate(dict.fromkeys(task.cell.id for task in tasks))}
    mine = [row for row in rows if row["cell_id"] in planned]
    return sorted(mine, key=lambda row: (planned[row["cell_id"]], row["repeat"]))


def how(arguments: argparse.Namespace, *, again: pilot.Again | None) -> pilot.Options:
    """How the options say that a plan is run."""
    return pilot.Options(
        cluster=arguments.cluster,
        pythons=options.pythons(arguments.python),
        quality=arguments.quality,
        target=arguments.target,
        timeout_s=arguments.timeout,
        memory_limit=arguments.memory_limit and arguments.memory_limit << 20,
        # A trial has to have the machine's memory for itself.
        schedule="interleaved" if arguments.find_max_batch else arguments.schedule,
        seed=nodes.seed(arguments),
        again=again,
        devices=options.devices(arguments),
        rendezvous=nodes.rendezvous(arguments),
        catalogue=arguments.catalogue,
        verbose=arguments.verbose,
    )


def _again(arguments: argparse.Namespace, tasks: Sequence[grid.Task]) -> pilot.Again | None:
    """What adds repeats; none where their number was given, or nothing is compared with another."""
    compared = {(task.cell.backend, task.cell.mode) for task in tasks if task.refused is None}
    if arguments.repeats or arguments.target is not None or len(compared) < 2:
        return None
    from bench.stopping import Target  # noqa: PLC0415  # imports pandas

    return Target(arguments.precision_target, arguments.max_minutes * 60).next


def _detectable(file: files.ResultFile) -> list[str]:
    if max((row["repeat"] for row in file.rows), default=0) < 2:
        return ["one process of each cell: how far two would differ is not known (--repeats)"]
    from bench.compare import pilots  # noqa: PLC0415  # imports pandas, too

    return pilots.detectable(file.path)


def _exit_code(rows: list[dict[str, Any]], *, strict: bool) -> int:
    statuses = {row["status"] for row in rows}
    if "ok" not in statuses:
        return EXIT_NOTHING
    return EXIT_NO if strict and not statuses <= {"ok", "unsupported"} else EXIT_OK


@contextlib.contextmanager
def _results(arguments: argparse.Namespace) -> Iterator[tuple[files.ResultFile, str]]:
    """The CSV to append to, and the id of the run that it belongs to."""
    if arguments.resume:
        if arguments.out:
            raise UsageError("--resume goes on with its own file: leave --out away")
        file = files.ResultFile.resume(arguments.resume)
        run_id = file.run_id or new_id()
    else:
        run_id = new_id()
        file = files.ResultFile.create(arguments.out or _new_path(arguments, run_id))
    try:
        yield file, run_id
    except UsageError:
        if not file.rows:  # nothing was run, so the name is free for the next try
            for part in (*places.parts(file.path), places.log_path(file.path)):
                part.unlink(missing_ok=True)  # an older file has no manifest, and a log may be lost
        raise
    finally:
        file.close()


def _new_path(arguments: argparse.Namespace, run_id: str) -> Path:
    root, cluster = Path.cwd() / "results", arguments.cluster or None
    return files.default_path(root, cluster=cluster, run_id=run_id, now=datetime.now(UTC))


def new_id() -> str:
    """Of a run."""
    return uuid.uuid4().hex[:8]


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """A batch system ends a job with SIGTERM; it deserves the same clean end as Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def calibrate(arguments: argparse.Namespace) -> int:
    """``bench calibrate``."""
    from bench import calibration  # noqa: PLC0415  # imports pandas, too

    asked = options.request(arguments, say=print)
    tasks = grid.plan(asked, entry=backends_index.find)
    tasks = calibration.variants(tasks, options.percents(arguments.slow))
    out = arguments.out or _new_path(arguments, new_id())
    with stoppable():
        return calibration.run(out, tasks, how(arguments, again=None))
