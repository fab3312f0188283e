"""The command line, ``python -m bench`` or ``bench``: where errors become exit codes."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from bench import (
    backends_index,
    batch_search,
    doctor,
    grid,
    nodes,
    options,
    pilot,
    pilot_options,
    pytest_benchmark_file,
    table,
    targets,
)
from bench.compare import options as compare_options
from bench.contract import BenchError
from bench.envs import command as env_command
from bench.errors import (
    EXIT_INTERRUPTED,
    EXIT_NO,
    EXIT_NOTHING,
    EXIT_OK,
    EXIT_USAGE,
    UsageError,
)
from bench.gpu_check import options as gpu_check_options
from bench.history import options as history_options
from bench.report import options as report_options
from bench.rows import files, schema
from bench.score import options as score_options


class Parser(argparse.ArgumentParser):
    """argparse, with its errors as one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is stated in ``bench.errors``."""
    try:
        arguments = pilot_options.parsed(_parser(), argv)
        command: Callable[[argparse.Namespace], int] = arguments.command
        return command(arguments)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("bench: interrupted; every finished row is on disk", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK


def _parser() -> Parser:
    parser = Parser(
        prog="bench",
        description="Run the same reference workloads on several deep-learning frameworks and "
        "compare what was measured.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    options.add(commands).set_defaults(command=_run)
    pilot_options.add_init(commands).set_defaults(command=pilot_options.init)
    env_command.add(commands).set_defaults(command=env_command.run)
    options.add_fairness(commands).set_defaults(command=_later("bench.fairness"))
    options.add_calibrate(commands).set_defaults(command=_calibrate)
    compare_options.add(commands).set_defaults(command=_later("bench.compare.command"))
    history_options.add(commands).set_defaults(command=_later("bench.history.command"))
    gpu_check_options.add(commands).set_defaults(command=_later("bench.gpu_check.command"))
    score_options.add(commands).set_defaults(command=_later("bench.score.command"))
    score_options.add_shortlist(commands).set_defaults(command=_later("bench.score.shortlist"))
    report_options.add(commands).set_defaults(command=_later("bench.report.command"))
    shot = commands.add_parser("snapshot", help="ask the package clients for releases and sizes")
    shot.add_argument("--backend", default="all", help=options.LIST)
    shot.set_defaults(command=_later("bench.snapshot"))
    score_options.add_advisories(commands).set_defaults(command=_later("bench.score.audit"))
    night = commands.add_parser("night", help="compare a folder's last night with the one before")
    night.add_argument("folder", type=Path, nargs="?", default=Path("nights"))
    night.set_defaults(command=_later("bench.night"))
    out = commands.add_parser("export", help="write results as another program's file")
    out.add_argument("results", type=Path, nargs="+", help="results files or folders")
    out.add_argument("--format", choices=("pytest-benchmark",), default="pytest-benchmark")
    out.add_argument("-o", "--out", type=Path, help="the file; default: standard output")
    out.set_defaults(command=pytest_benchmark_file.run)
    scale = commands.add_parser("scaling", help="what several devices bring of what they could")
    scale.add_argument("results", type=Path, nargs="+", help="results files or folders")
    scale.add_argument("--json", action="store_true", help="print JSON")
    scale.set_defaults(command=_later("bench.scaling"))
    reach = commands.add_parser("targets", help="seconds and samples to an accuracy (run --target)")
    reach.add_argument("results", type=Path, nargs="+", help="results files or folders")
    reach.add_argument("--json", action="store_true", help="print JSON")
    reach.set_defaults(command=_later("bench.targets"))
    listing = commands.add_parser("backends", help="list the backends and what they offer")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(command=_later("bench.listing"))
    doc = commands.add_parser("doctor", help="say what is here, what is missing, how to mend it")
    doc.add_argument("--json", action="store_true", help="print JSON")
    doc.set_defaults(command=lambda arguments: doctor.run(json=arguments.json))
    return parser


def _run(arguments: argparse.Namespace) -> int:
    """Plan, run, print; the rows are on disk one by one."""
    # The table is for people and for pipes; progress goes where it cannot disturb either.
    console = Console(stderr=arguments.json, highlight=False)
    asked = options.request(arguments, say=partial(console.print, soft_wrap=True, markup=False))
    tasks = grid.plan(asked, entry=backends_index.find)
    search = batch_search.Search(tasks) if arguments.find_max_batch else None
    tasks = search.first if search else tasks
    how = _how(arguments, again=search.next if search else _again(arguments, tasks))
    with _results(arguments) as (file, run_id), _sigterm_as_interrupt():
        pilot.run(tasks, file, run_id=run_id, options=how, console=console)
    rows = file.rows if search else _in_order(file.rows, tasks)
    if arguments.json:
        print(json.dumps({"out": str(file.path), "rows": [schema.text(row) for row in rows]}))
    else:
        table.render(rows, console=console)
        console.print(f"\n{table.summary(rows)}", soft_wrap=True)
        for line in search.lines(rows) if search else _detectable(file):
            console.print(line, soft_wrap=True, markup=False)
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


def _how(arguments: argparse.Namespace, *, again: pilot.Again | None) -> pilot.Options:
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
        run_id = file.run_id or _new_id()
    else:
        run_id = _new_id()
        file = files.ResultFile.create(arguments.out or _new_path(arguments, run_id))
    try:
        yield file, run_id
    except UsageError:
        if not file.rows:  # nothing was run, so the name is free for the next try
            file.path.unlink()
            files.steps_path(file.path).unlink()
        raise
    finally:
        file.close()


def _new_path(arguments: argparse.Namespace, run_id: str) -> Path:
    root, cluster = Path.cwd() / "results", arguments.cluster or None
    return files.default_path(root, cluster=cluster, run_id=run_id, now=datetime.now(UTC))


def _new_id() -> str:
    return uuid.uuid4().hex[:8]


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """A batch system ends a job with SIGTERM; it deserves the same clean end as Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _calibrate(arguments: argparse.Namespace) -> int:
    from bench import calibration  # noqa: PLC0415  # imports pandas, too

    asked = options.request(arguments, say=print)
    tasks = grid.plan(asked, entry=backends_index.find)
    tasks = calibration.variants(tasks, options.percents(arguments.slow))
    out = arguments.out or _new_path(arguments, _new_id())
    with _sigterm_as_interrupt():
        return calibration.run(out, tasks, _how(arguments, again=None))


def _later(module: str) -> Callable[[argparse.Namespace], int]:
    """``run`` of a module that is imported only when it is asked for: scipy, pandas and pyarrow
    take a second and 150 MB.
    """

    def run(arguments: argparse.Namespace) -> int:
        code: int = importlib.import_module(module).run(arguments)
        return code

    return run
