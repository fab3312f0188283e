"""``bench gpu-check``: run the parts that were asked for, and say what was found."""

from __future__ import annotations

import argparse
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench import backends_index, envs, grid, options, table
from bench.accelerators import choose
from bench.accelerators.ask import ask, question
from bench.accelerators.devices import Devices
from bench.backends_index import find
from bench.errors import EXIT_NO, EXIT_NOTHING, EXIT_OK, EnvError, UsageError
from bench.gpu_check import judges
from bench.gpu_check.judges import FAIL, OK, SKIP, Answer
from bench.gpu_check.plan import CELL_S, MINUTES, Planned, planned
from bench.report import options as report_options
from bench.rows.files import ResultFile
from bench.rows.schema import Row
from bench.run import pilot


@dataclass
class Budget:
    """A part's time; it begins with the first cell, when all environments are there."""

    minutes: float
    started: float | None = None

    def spent(self) -> bool:
        self.started = self.started or time.monotonic()
        return time.monotonic() - self.started >= 60 * self.minutes


def run(arguments: argparse.Namespace) -> int:
    console = Console(highlight=False)
    device, asked = choose.named(arguments.device)
    backends = present(arguments, device)
    arguments = argparse.Namespace(**{**vars(arguments), "backend": ",".join(backends)})
    devices = Devices(asked, allow_busy=arguments.allow_busy)
    found: list[Answer] = []
    with _file(arguments.out) as file:
        for part in arguments.part:
            found += list(_found(backends, device, arguments, devices)) if part == 1 else []
            found += _part(part, arguments, devices, file=file, console=console)
        rows = [row for row in file.rows if not row["trial"]]
    if rows:
        table.render(rows, console=console)
        found.append(_page(arguments.out))
    for answer in found:
        console.print(answer.line(), soft_wrap=True, markup=False)
    _keep(arguments.out, found)
    console.print(judges.summary(found), soft_wrap=True)
    code = judges.code(found)
    return EXIT_NOTHING if code is None else EXIT_NO if code else EXIT_OK


def _found(
    backends: Sequence[str], device: str, arguments: argparse.Namespace, devices: Devices
) -> Iterator[Answer]:
    """Which devices each backend has, and what their own library says of them."""
    pythons = options.pythons(arguments.python)
    settings = {key: values[0] for key, values in map(options.setting, arguments.setting)}
    for backend in backends:
        what = f"device: {backend}"
        cell = question(backend, device, settings)
        try:
            python = envs.resolve(backend, device, pythons=pythons, log=print).python
            answer = ask(cell, python, devices.share(cell))
        except EnvError as error:
            yield Answer(FAIL, what, str(error), device)
            continue
        status = OK if device in answer.devices else FAIL
        yield Answer(status, what, answer.words or ", ".join(answer.devices), device)
    mine = devices.share(question(backends[0], device))
    facts = "; ".join(f"{one.name}, {one.memory_mib:.0f} MiB, {one.driver}" for one in mine.devices)
    status, said = (OK, facts) if facts else (SKIP, mine.unread or f"{device} has no library")
    yield Answer(status, "device: facts", said, "its name, memory and driver")


def _part(
    part: int,
    arguments: argparse.Namespace,
    devices: Devices,
    *,
    file: ResultFile,
    console: Console,
) -> list[Answer]:
    """Run a part's cells, as many as its time allows, and judge them all."""
    checks = planned(arguments, [part])
    budget = Budget(MINUTES[part] if arguments.minutes is None else arguments.minutes)
    how = pilot.Options(
        pythons=options.pythons(arguments.python),
        timeout_s=arguments.timeout or CELL_S,
        schedule="sequential",
        devices=devices,
        enough=budget.spent,
        verbose=arguments.verbose,
    )
    tasks = {task.key: task for check in checks for task in check.tasks}
    run_id = file.run_id or uuid.uuid4().hex[:8]
    console.print(f"part {part}: {len(tasks)} cells, at most {budget.minutes:g} minutes")
    pilot.run(list(tasks.values()), file, run_id=run_id, options=how, console=console)
    rows = {(row["cell_id"], row["repeat"]): row for row in file.rows}
    return [answer for check in checks for answer in _judged(check, rows, budget)]


def _judged(one: Planned, rows: dict[tuple[str, int], Row], budget: Budget) -> Iterator[Answer]:
    name = one.check.name
    if one.refused:
        yield Answer(SKIP, name, one.refused, "its cells")
    for task in one.tasks:
        if row := rows.get(task.key):
            yield from judges.answers(name, one.check.trial, row)
        else:
            late = f"no time was left of {budget.minutes:g} minutes: again with --backend"
            yield Answer(SKIP, f"{name}: {task.cell.id}", late, "a row")


def present(arguments: argparse.Namespace, device: str) -> list[str]:
    """Backends that were brought, or have a lock for the device."""
    asked = grid.choose("backend", arguments.backend, backends_index.names())
    brought = options.brought(arguments.python)
    found = [name for name in asked if name in brought or device in find(name).locks]
    if not found:
        raise UsageError(f"none of {', '.join(asked)} has a lock for {device}: bring one, --python")
    return found


def _file(path: Path) -> ResultFile:
    """Parts are appended to one file; what it holds is not run again."""
    return ResultFile.resume(path) if path.exists() else ResultFile.create(path)


def _page(out: Path) -> Answer:
    from bench.report import command  # noqa: PLC0415  # imports pandas and Altair

    told = "; ".join(command.beside(report_options.of(out)))
    return Answer(OK, "page", told, "the page of these rows")


def _keep(out: Path, found: Sequence[Answer]) -> None:
    """Beside the CSV, in the place of the same checks' earlier answers."""
    path = out.with_suffix(".checks.json")
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    kept = {one["what"]: one for one in known} | {one.what: one._asdict() for one in found}
    path.write_text(json.dumps(list(kept.values()), indent=1) + "\n", encoding="utf-8")
