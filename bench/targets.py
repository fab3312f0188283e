"""Time to accuracy: seconds and samples until a held-out accuracy, over seeds. Parent half.

The rows of ``--target``; each repeat is a seed. ``bench targets RESULTS`` prints them anew.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from bench.errors import EXIT_NOTHING, EXIT_OK
from bench.rows.reading import read
from bench.rows.schema import Row
from bench.table import whole
from bench.text import plain


@dataclass(frozen=True)
class Reached:
    """One cell's way to one accuracy. seconds, samples, compiles: of the seeds that got there."""

    cell_id: str
    accuracy: float
    seeds: int
    best: float
    seconds: Sequence[float]
    samples: Sequence[int]
    compiles: Sequence[float]

    @property
    def words(self) -> Iterator[str]:
        """Median and range of the seconds, the samples, the compile; or that it never got there."""
        got = len(self.seconds)
        yield f"{self.accuracy:g}"
        yield f"{got} of {self.seeds}"
        if not got:
            yield from (f"never (best {self.best:.3f})", "", "")
            return
        low, high = min(self.seconds), max(self.seconds)
        yield f"{statistics.median(self.seconds):.3g} s ({low:.3g} to {high:.3g})"
        yield f"{statistics.median_high(self.samples):,.0f}"
        yield f"{statistics.median(self.compiles):.2g} s"


def reached(rows: Sequence[Row]) -> list[Reached]:
    """A cell and accuracy an entry, in the order of the first rows; runs are pooled."""
    groups: dict[tuple[str, str, str, float], list[Row]] = {}
    for row in rows:
        if row["status"] == "ok" and row.get("target_accuracy"):
            machine = row["cluster"], row["device_name"]
            groups.setdefault((row["cell_id"], *machine, row["target_accuracy"]), []).append(row)
    return [_reached(key[0], key[-1], mine) for key, mine in groups.items()]


def _reached(cell_id: str, accuracy: float, rows: Sequence[Row]) -> Reached:
    there = [row for row in rows if row.get("target_s") is not None]
    return Reached(
        cell_id=cell_id,
        accuracy=accuracy,
        seeds=len(rows),
        best=max(row["target_found"] for row in rows),
        seconds=[row["target_s"] for row in there],
        samples=[row["target_samples"] for row in there],
        compiles=[row["target_compile_s"] for row in there],
    )


def render(found: Sequence[Reached], console: Console) -> None:
    if not found:
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in ("cell", "accuracy", "seeds", "training", "samples", "of it compile"):
        table.add_column(name, justify="left" if name == "cell" else "right", no_wrap=True)
    for one in found:
        table.add_row(plain(one.cell_id), *one.words)
    whole(table, console)


def soonest(one: Reached) -> tuple[str, float]:
    """Sorts by workload and median seconds."""
    _, workload, *_ = one.cell_id.split("/")
    return workload, statistics.median(one.seconds) if one.seconds else float("inf")


def markdown(rows: Sequence[Row]) -> Iterator[str]:
    """The README's table: of each workload the soonest first."""
    yield "| cell | accuracy | reached by seeds | training: median (range) | samples | compile |"
    yield "|---|---|---|---|---|---|"
    for one in sorted(reached(rows), key=soonest):
        yield f"| {' | '.join([one.cell_id, *one.words])} |"


def run(arguments: argparse.Namespace) -> int:
    found = reached(read(*arguments.results))
    if arguments.json:
        print(json.dumps([asdict(one) for one in found]))
    elif found:
        render(found, Console(highlight=False))
    else:
        print("no cell was trained to an accuracy (bench run --target)")
    return EXIT_OK if found else EXIT_NOTHING
