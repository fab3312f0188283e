"""What a cell's worker is told: which cell, on what, and where it leaves its row."""

from __future__ import annotations

import os
from pathlib import Path

from backends.entry import Entry
from bench import machine
from bench.contract import GENERATE, Cell
from bench.grid import Task
from bench.job import Job
from bench.run.tools import Tools


def job_of(task: Task, tools: Tools, cell: Cell, *, role: str, entry: Entry, folder: Path) -> Job:
    """cell: the task's, or one that goes with it, such as the one that serves its export.

    folder: the process's own, in the scratch folder that all of the cell's processes share.
    """
    folder.mkdir()
    files = tools.prepared(task.cell.model, task.cell.size)
    ranks = cell.processes if entry.rank_env else 1
    return Job(
        role=role,
        cell=cell,
        module=entry.module,
        weights=files.weights if cell.trains else files.export_weights,
        data=files.data,
        trace=files.trace,
        exported=folder.parent / "exported",
        logits=folder.parent / "logits",
        commands=folder / "commands",
        replies=folder / "replies",
        row=folder / "row.json",
        cpus=machine.cpus()[: cell.threads * ranks],
        parent=os.getpid(),
        quality_steps=task.spec.quality_steps,
        quality_lr=task.spec.quality_lr,
        train_batches=task.spec.train_batches,
        seed=task.repeat,
        capabilities=entry.generates if role == GENERATE else entry.capabilities,
        ranks=ranks,
        rank_env=entry.rank_env,
        rendezvous=tools.meet(),
        visible=tools.devices.share(cell).env,
    )
