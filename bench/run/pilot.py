"""Run a plan: environments, data, cells one after another, and a row for each of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import envs, identity, machine, memory, nodes, schedule
from bench.accelerators.devices import Devices
from bench.errors import EnvError
from bench.grid import Task
from bench.rendezvous import HERE, Rendezvous
from bench.rows.files import ResultFile, RowError
from bench.run import fleet, preparing, runlog
from bench.run.progress import Progress
from bench.run.run_cell import run_cell
from bench.run.runlog import ERROR, INFO, WARNING, RunLog, Subject
from bench.run.serving import consumer_of
from bench.run.told import reason_of
from bench.run.tools import Tools
from bench.run.turns import Outcome, Row
from bench.schedule import Fleet
from workloads import catalogue
from workloads.catalogue import Catalogue
from workloads.prepare import Prepared

SOUND = ("ok", "unsupported")
"""Of a row: it ended as it should."""

Again = Callable[[list[Task], ResultFile], tuple[list[Task], str]]
"""From the first repeat's tasks and the rows so far to the next repeat's tasks, and why."""


@dataclass(frozen=True)
class Options:
    """How a plan is run, as opposed to what is in it.

    enough: whether the next cell is not to be started any more.
    """

    cluster: str = ""
    pythons: Mapping[str, Path] = field(default_factory=dict)
    quality: bool = False
    target: float | None = None
    timeout_s: float | None = None
    memory_limit: int | None = None
    schedule: str = schedule.DEFAULT
    seed: int = 0
    again: Again | None = None
    enough: Callable[[], bool] = lambda: False
    devices: Devices = field(default_factory=Devices)
    rendezvous: Rendezvous = HERE
    catalogue: Catalogue = catalogue.REFERENCE
    verbose: bool = False


def run(
    tasks: list[Task], results: ResultFile, *, run_id: str, options: Options, console: Console
) -> list[Row]:
    """Run the tasks that ``results`` does not hold yet; every one of them leaves a row.

    ``options.again`` may add repeats. An interrupt (SIGINT)
    leaves rows with status ``interrupted`` and is raised again.
    """
    say = partial(console.print, soft_wrap=True, markup=False)
    with runlog.opened(results.path, run_id=run_id, verbose=options.verbose, say=say) as log:
        return _Pilot(results, run_id, options, console, log).run(tasks)


class _Pilot:
    """One run: what its cells share."""

    def __init__(
        self, results: ResultFile, run_id: str, options: Options, console: Console, log: RunLog
    ) -> None:
        self.log = log
        self.results = results
        self.run_id = run_id
        self.options = options
        self.console = console
        self.rows: list[Row] = []
        self.how = options.schedule

    def run(self, tasks: list[Task]) -> list[Row]:
        waiting = [task for task in tasks if task.key not in self.results.done]
        self._announce(tasks, waiting)
        self.progress = Progress(self.console, waiting)
        self.tools = _tools(self.options, self.progress)
        try:
            _make_ready(waiting, self.tools)
            self._pass(waiting)
            while waiting := self._more(tasks):
                self._pass(waiting)
        finally:
            self.progress.close()
        runlog.event("ended", rows=len(self.rows))
        return self.rows

    def _announce(self, tasks: list[Task], waiting: list[Task]) -> None:
        if self.results.rows:
            runlog.event("resumed", rows=len(self.results.rows))
        runlog.event(
            "plan",
            cells=len(tasks),
            waiting=len(waiting),
            refused=sum(task.refused is not None for task in waiting),
            schedule=self.options.schedule,
            seed=self.options.seed,
            cluster=self.options.cluster,
            host=machine.host(),
            git_rev=machine.git_rev(),
        )

    def _more(self, tasks: list[Task]) -> list[Task]:
        """The next repeat of the cells whose ratios are not known well enough yet."""
        if self.options.again is None:
            return []
        waiting, said = self.options.again(tasks, self.results)
        runlog.event("repeats", cells=len(waiting), why=said)
        self.progress.note(said)
        self.progress.more(waiting)
        return waiting

    def _pass(self, tasks: list[Task]) -> None:
        room = int(schedule.SHARE_OF_MEMORY * memory.available_bytes()) >> 20
        found = schedule.fleets(
            tasks, how=self.options.schedule, seed=self.options.seed, room_mib=room
        )
        for tasks_together in found:
            if self.options.enough():
                return
            self._fleet(tasks_together)

    def _fleet(self, tasks: Fleet) -> None:
        left = list(tasks)
        alone = self.options.schedule == "baton" and len(tasks) == 1  # nobody to take turns with
        self.how = "interleaved" if alone else self.options.schedule
        try:
            for task, outcome in self._outcomes(tasks):
                self._append(task, outcome)
                left.remove(task)
        except KeyboardInterrupt:
            stopped = {"status": "interrupted", "reason": "stopped by the user", "wall_s": 0.0}
            for task in left:
                self.results.append(self._identity(task) | stopped, None)
                self._tell(task, stopped, Outcome({}))
            raise

    def _outcomes(self, tasks: Fleet) -> Iterator[tuple[Task, Outcome]]:
        if len(tasks) > 1:
            seed, begin = self.options.seed, self.progress.start
            yield from fleet.run(tasks, self.tools, seed=seed, begin=begin)
            return
        for task in tasks:
            self.progress.start(task)
            yield task, run_cell(task, self.tools)

    def _append(self, task: Task, outcome: Outcome) -> None:
        row = self._identity(task) | outcome.row
        if row["status"] not in SOUND:
            row["reason"] = reason_of(row["reason"], outcome.tail)
        try:
            self.results.append(row, outcome.times or None)
        except RowError as error:
            # Figures that contradict each other are worth less than none: the row says so instead.
            row = self._identity(task) | {
                "status": "failed",
                "reason": f"the row contradicts itself: {error}",
                "wall_s": outcome.row["wall_s"],
            }
            self.results.append(row, outcome.times or None)
        self._tell(task, row, outcome)
        self.progress.finish(task, row)
        self.rows.append(row)

    def _tell(self, task: Task, row: Row, outcome: Outcome) -> None:
        """Once it is written; with what its workers printed where it did not end well."""
        rate = row.get("samples_per_s") or row.get("infer_samples_per_s")
        told = {"status": row["status"], "reason": row.get("reason", ""), "wall_s": row["wall_s"]}
        sound = row["status"] in SOUND
        if outcome.log and not sound:
            kept = self.log.keep(task.cell.id, task.repeat, outcome.log)
            told |= {"printed": kept, "tail": outcome.tail}
        level, about = INFO if sound else WARNING, Subject(*task.key)
        runlog.event("row", level=level, about=about, **told, samples_per_s=rate)

    def _identity(self, task: Task) -> Row:
        facts = {"schedule": self.how, "seed": self.options.seed}
        run_id, cluster = self.run_id, self.options.cluster
        return identity.of(task.cell, task.repeat, run_id=run_id, cluster=cluster) | facts


def _make_ready(tasks: list[Task], tools: Tools) -> None:
    """Install and prepare everything first: nothing else may run while a worker measures."""
    cells = [task.cell for task in tasks if task.refused is None]
    tools.devices.check(cells)
    for model, size in dict.fromkeys((cell.model, cell.size) for cell in cells):
        tools.prepared(model, size)
    users = [user for cell in cells for user in (cell, consumer_of(cell))]
    # What cannot be built is remembered: its cells become rows.
    envs.each(tools.environment, [(user.backend, user.device) for user in users])
    for user in users:
        with contextlib.suppress(EnvError):  # its row will say so
            tools.devices.lacks(user, tools.environment)


def _tools(options: Options, progress: Progress) -> Tools:
    def install(text: str) -> None:
        runlog.event("install", text=text.strip())
        progress.note(text)

    @cache
    def environment(backend: str, device: str) -> envs.Env | EnvError:
        asked: dict[str, Any] = {"backend": backend, "device": device}
        try:
            found = envs.resolve(backend, device, pythons=options.pythons, log=install)
        except EnvError as error:
            runlog.event("environment", level=ERROR, **asked, reason=str(error))
            return error  # remembered, so that a broken environment is not built for every cell
        runlog.event("environment", **asked, lock=found.lock, note=found.note)
        return found

    def usable(backend: str, device: str) -> envs.Env:
        found = environment(backend, device)
        if isinstance(found, EnvError):
            raise found
        return found

    @cache
    def prepared(model: str, size: str) -> Prepared:
        found = preparing.of(options.catalogue, usable, progress.note, model, size)
        runlog.event("data", model=model, size=size)
        return found

    return Tools(
        environment=usable,
        prepared=prepared,
        say=progress.phase,
        quality=options.quality,
        target=options.target,
        timeout_s=options.timeout_s,
        memory_limit=options.memory_limit,
        devices=options.devices,
        meet=nodes.meetings(options.rendezvous),
    )
