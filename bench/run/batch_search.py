"""``bench run --find-max-batch``: each cell's trials, and at the end the largest batch measured.

A trial is a cell as any other, in a fresh process and with a row, but it only trains a few steps.
What was found out is read from the rows, so that a search can be resumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.errors import UsageError
from bench.grid import Task
from bench.rows.files import ResultFile
from bench.rows.schema import Row
from bench.run import largest_batch
from bench.run.largest_batch import FULL
from bench.trials import BATCH, TRIAL


class Search:
    """The cells of a plan that train, each with the batch that its search begins with."""

    def __init__(self, plan: Sequence[Task]) -> None:
        self.repeats = max((task.repeat for task in plan), default=1)
        training = [task for task in plan if task.cell.trains and not task.cell.capability]
        # Of several batches asked for the first is begun with: they have one search.
        cells = {_of_batch(task, 0).cell.id: task for task in reversed(training)}
        self.tasks = list(reversed(cells.values()))
        if not self.tasks:
            raise UsageError(
                "--find-max-batch: none of these cells trains; choose cnn, transformer"
            )

    @property
    def first(self) -> list[Task]:
        """What is tried before anything is known."""
        return [_trial(task, task.cell.batch) for task in self.tasks]

    def next(self, _: Sequence[Task], results: ResultFile) -> tuple[list[Task], str]:
        """The next trial of each cell, or the measurement of what was found; and how far it is."""
        trials, measured = [], []
        for task in self.tasks:
            outcomes = _outcomes(task, results.rows)
            batch = largest_batch.following(outcomes, first=task.cell.batch)
            if batch is not None:
                trials.append(_trial(task, batch))
            elif (now := largest_batch.known(outcomes)).stopped is None and now.trains:
                measured += self._measured(task, now.trains)
        ended = len(self.tasks) - len(trials)
        found = f"{ended} of {len(self.tasks)} searches for the largest batch have ended"
        # Measured last, or what was found in the meantime would keep the others waiting.
        tasks = trials or [task for task in measured if task.key not in results.done]
        return tasks, found

    def lines(self, rows: Sequence[Row]) -> Iterator[str]:
        """What a run says of it at its end."""
        for task in self.tasks:
            cell = task.cell
            label = f"{cell.backend} {cell.workload} {cell.size} {cell.precision} {cell.mode}"
            yield f"largest batch: {_found(task, rows)}: {label} {cell.track}"

    def judged(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that the exit code depends on: that a trial runs out of memory is an answer."""
        return [row for row in rows if not row[TRIAL] or row["status"] not in ("ok", FULL)]

    def _measured(self, task: Task, batch: int) -> list[Task]:
        return [
            replace(_of_batch(task, batch), repeat=repeat) for repeat in range(1, self.repeats + 1)
        ]


def _of_batch(task: Task, batch: int) -> Task:
    return replace(task, cell=replace(task.cell, batch=batch))


def _trial(task: Task, batch: int) -> Task:
    cell = replace(task.cell, batch=batch, settings={**task.cell.settings, TRIAL: BATCH})
    return replace(task, cell=cell, repeat=1)


def _tried(task: Task, rows: Sequence[Row]) -> Iterator[Row]:
    """A cell's rows: its trials, and a measurement that had no room after all."""
    for row in rows:
        measured = _of_batch(task, row["batch"]).cell.id
        full = row["cell_id"] == measured and row["status"] == FULL
        if full or row["cell_id"] == _trial(task, row["batch"]).cell.id:
            yield row


def _outcomes(task: Task, rows: Sequence[Row]) -> dict[int, str]:
    """Batch -> status; a measurement comes after its trial and replaces it."""
    return {row["batch"]: row["status"] for row in _tried(task, rows)}


def _found(task: Task, rows: Sequence[Row]) -> str:
    now = largest_batch.known(_outcomes(task, rows))
    if now.stopped is not None:
        why = next(row for row in _tried(task, rows) if row["batch"] == now.stopped)
        so_far = f", at least {now.trains}" if now.trains else ""
        return f"not known{so_far} (batch {now.stopped}: {why['status']}: {why['reason']})"
    if now.full is None:
        return f"at least {now.trains} (never oom)"
    return f"{now.trains or 'none'} (oom at {now.full})"
