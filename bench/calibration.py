"""``bench calibrate``: what this machine and this program's method find where the truth is known.

Two identical workers (A and B) and some that are slowed by a known share of each step run like any
pilot's cells. Every step of all of them is waited for, so that a busy wait of 5 % of a step
makes it 5 % longer, whatever the framework would have done meanwhile.
"""

from __future__ import annotations

import math
import random
import statistics
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from bench import pilot
from bench.compare import frame, stats
from bench.compare.metrics import THROUGHPUT, logarithms
from bench.errors import EXIT_NO, EXIT_NOTHING, EXIT_OK
from bench.grid import Task
from bench.rows.files import ResultFile
from bench.session import CALIBRATE
from bench.stopping import LEAST

SAME = ("A", "B")
DRAWS = 2000
FALSE_ALARMS = 0.01


def variants(tasks: Sequence[Task], percents: Sequence[str]) -> list[Task]:
    """Each task as A, as B and slowed; what cannot be run stays one task."""
    return [
        replace(task, cell=replace(task.cell, settings={**task.cell.settings, CALIBRATE: name}))
        for task in tasks
        for name in ((*SAME, *percents) if task.refused is None else SAME[:1])
    ]


@dataclass(frozen=True)
class Answer:
    """For one cell: log-ratios against A, one a repeat. ``slowed``: percent, 0 for B."""

    cell: str
    slowed: float
    logs: Sequence[float]

    @property
    def spread(self) -> float:
        """Standard deviation of one repeat's log-ratio."""
        return statistics.stdev(self.logs)

    def called(self, level: float) -> float:
        """How often a comparison of as many repeats as are needed calls it different.

        Of LEAST repeats, or all there are, drawn from these; identical workers have no order, so
        A and B are exchanged at random.
        """
        dealer = random.Random(0)
        size = min(LEAST, len(self.logs))
        called = 0
        for _ in range(DRAWS):
            drawn = dealer.sample(list(self.logs), size)
            if not self.slowed:
                drawn = [dealer.choice((-1, 1)) * one for one in drawn]
            group = np.zeros(size, np.intp)
            found = stats.paired(stats.moments(np.array(drawn), group, 1))
            called += bool(found.p_different()[0] <= level)
        return called / DRAWS


def answers(path: Path) -> list[Answer]:
    """From a calibration's rows, by cell and variant; repeats that lack one side are left out."""
    rows = frame.read([path])
    logs = logarithms(rows, THROUGHPUT)
    found: dict[str, dict[str, dict[int, float]]] = {}
    for cell_id, repeat, status, log in zip(
        rows["cell_id"].astype(str), rows["repeat"], rows["status"], logs, strict=True
    ):
        cell, _, name = cell_id.rpartition(f"/{CALIBRATE}=")
        if cell and status == "ok" and not math.isnan(log):
            found.setdefault(cell, {}).setdefault(name, {})[repeat] = log
    return [answer for cell, sides in found.items() for answer in _answers(cell, sides)]


def _answers(cell: str, sides: Mapping[str, Mapping[int, float]]) -> Iterator[Answer]:
    base = sides.get(SAME[0], {})
    for name in sorted(set(sides) - {SAME[0]}, key=_slowed):
        both = sorted(set(base) & set(sides.get(name, {})))
        if len(both) > 1:
            yield Answer(cell, _slowed(name), [sides[name][at] - base[at] for at in both])


def _slowed(name: str) -> float:
    return float(name) if name.isdigit() else 0.0


def lines(found: Sequence[Answer], *, level: float) -> Iterator[str]:
    """Markdown, which a terminal shows well enough too."""
    yield "| cell | slowed by | measured | sd of one repeat | called different | repeats |"
    yield "|---|---:|---:|---:|---:|---:|"
    for one in found:
        measured = math.expm1(-statistics.mean(one.logs))
        yield (
            f"| {one.cell} | {one.slowed:.0f} % | {measured:+.1%} | {one.spread:.3f} |"
            f" {one.called(level):.1%} | {len(one.logs)} |"
        )


def run(out: Path, tasks: list[Task], how: pilot.Options) -> int:
    """Measure and tell; exit code 1 where false alarms are too many."""
    console = Console(highlight=False)
    with ResultFile.create(out) as file:
        pilot.run(tasks, file, run_id=uuid.uuid4().hex[:8], options=how, console=console)
    found = answers(out)
    for line in lines(found, level=stats.LEVEL):
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"results: {out}", soft_wrap=True)
    if not found:
        return EXIT_NOTHING
    alarms = [one.called(stats.LEVEL) for one in found if not one.slowed]
    return EXIT_OK if statistics.mean(alarms) <= FALSE_ALARMS else EXIT_NO
