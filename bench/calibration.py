"""``bench calibrate``: what this machine and this program's method find where the truth is known.

Two identical workers (A and B) and some that are slowed by a known share of each step run like any
pilot's cells. Every step of all of them is waited for, so that a busy wait of 5 % of a step
makes it 5 % longer, whatever the framework would have done meanwhile.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from bench import resampling
from bench.compare import frame
from bench.compare.metrics import THROUGHPUT, logarithms
from bench.compare.rounds import Rounds
from bench.compare.stats import LEVEL, Floats
from bench.compare.verdicts import How
from bench.errors import EXIT_NO, EXIT_NOTHING, EXIT_OK
from bench.grid import Task
from bench.rows.files import ResultFile
from bench.run import pilot
from bench.stopping import LEAST
from bench.worker.session import CALIBRATE

SAME = ("A", "B")
TARGET = 0.03
FEWEST = 3
"""Repeats below which nothing can be said of a spread."""


def variants(tasks: Sequence[Task], percents: Sequence[str]) -> list[Task]:
    """Each task as A, as B and slowed; what cannot be run stays one task."""
    return [
        replace(task, cell=replace(task.cell, settings={**task.cell.settings, CALIBRATE: name}))
        for task in tasks
        for name in ((*SAME, *percents) if task.refused is None else SAME[:1])
    ]


@dataclass(frozen=True)
class Answer:
    """For one cell: log-ratios of throughput against A, one a repeat. ``slowed``: percent, 0 for B.

    together: whether the two took turns, so that their rounds could be compared.
    """

    cell: str
    slowed: float
    logs: Floats
    together: bool

    @property
    def spread(self) -> float:
        """Standard deviation of one repeat's log-ratio."""
        return float(self.logs.std(ddof=1))

    @property
    def measured(self) -> float:
        """By how much a step was longer than A's, as a fraction."""
        return float(np.expm1(-self.logs.mean()))

    @property
    def truth(self) -> Floats:
        """What is drawn from: identical workers differ by chance only."""
        return self.logs if self.slowed else resampling.exchanged(self.logs)


def answers(path: Path) -> list[Answer]:
    """From a calibration's rows, by cell and variant; repeats that lack one side are left out."""
    rows = frame.read([path])
    rows = rows.assign(log=logarithms(rows, THROUGHPUT), row=np.arange(len(rows)))
    parts = rows["cell_id"].astype(str).str.rpartition(f"/{CALIBRATE}=")
    rows = rows.assign(cell=parts[0], name=parts[2])
    usable = (rows["cell"] != "") & (rows["status"] == "ok") & rows["log"].notna()
    kept = rows.loc[usable, ["cell", "name", "repeat", "fleet", "log", "row"]]
    base = kept[kept["name"] == SAME[0]].drop(columns="name")
    others = kept[kept["name"] != SAME[0]]
    pairs = others.merge(base, on=["cell", "repeat"], suffixes=("_new", "_base"))
    found = [
        _answer(str(cell), str(name), group, rows)
        for (cell, name), group in pairs.groupby(["cell", "name"])
        if len(group) >= FEWEST
    ]
    return sorted(found, key=lambda one: (one.cell, one.slowed))


def _answer(cell: str, name: str, pairs: pd.DataFrame, rows: pd.DataFrame) -> Answer:
    logs = (pairs["log_new"] - pairs["log_base"]).to_numpy(float)
    same_fleet = pairs["fleet_new"].astype(str) == pairs["fleet_base"].astype(str)
    together = bool((same_fleet & (pairs["fleet_new"].astype(str) != "")).all())
    if together:
        logs = Rounds(rows, rows).sharpened(pairs, logs)
    return Answer(cell, float(name) if name.isdigit() else 0.0, logs, together)


def lines(found: Sequence[Answer], *, level: float) -> Iterator[str]:
    """Markdown, which a terminal shows well enough too."""
    yield (
        "| cell | slowed by | measured | sd of one repeat | repeats | called different,"
        f" {LEAST} repeats | ... until {TARGET:.0%} is reached | repeats that took |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for one in found:
        enough = resampling.stopped(one.truth, target=TARGET, level=level)
        fixed = resampling.called(one.truth, fleets=LEAST, level=level)
        yield (
            f"| {one.cell} | {one.slowed:.0f} % | {one.measured:+.1%} | {one.spread:.3f} |"
            f" {len(one.logs)} | {fixed:.1%} | {enough.called:.1%} | {enough.fleets:.0f} |"
        )


def run(out: Path, tasks: list[Task], how: pilot.Options) -> int:
    """Measure and tell; exit code 1 where false alarms are too many."""
    console = Console(highlight=False)
    with ResultFile.create(out) as file:
        pilot.run(tasks, file, run_id=uuid.uuid4().hex[:8], options=how, console=console)
    found = answers(out)
    for line in lines(found, level=How().strict):
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"results: {out}", soft_wrap=True)
    alarms = [_alarms(one) for one in found if not one.slowed]
    if not alarms:
        return EXIT_NOTHING
    # The drawing's own chance, which is not the method's.
    chance = 3 * math.sqrt(LEVEL / (len(alarms) * resampling.DRAWS))
    return EXIT_OK if float(np.mean(alarms)) <= LEVEL + chance else EXIT_NO


def _alarms(one: Answer) -> float:
    return resampling.stopped(one.truth, target=TARGET, level=How().strict).called
