"""How much of what more devices could bring they do bring: ``bench scaling``. Parent half.

The scaling is weak, as data parallel training is used: each device keeps its batch. With rates r of
world sizes N and 1, the efficiency is r_N / (N r_1), as in Goyal et al. 2017 ("Accurate, Large
Minibatch SGD"), of geometric means over fresh processes.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from scipy import stats

from bench.errors import EXIT_NOTHING, EXIT_OK
from bench.rows.reading import read
from bench.rows.schema import Row
from bench.table import whole
from bench.text import plain

LEVEL = 0.95  # of an interval

ALIKE = (
    *("cluster", "host", "device_name", "backend", "backend_version", "workload", "model", "size"),
    *("device", "precision", "mode", "track", "batch", "compile_cache"),
)
"""What the rows of a world size and of one device have in common; on a CPU also the threads of
a device, for there more devices are only more of the same cores."""

OF_THE_WORLD = ("sharding", "nodes")
"""Settings that one device cannot have."""


@dataclass(frozen=True)
class Scaling:
    """One cell on ``world_size`` devices. low, high: of the efficiency, where repeats allow.

    allreduce: what one sum of the gradients takes of a step, if nothing hid it.
    """

    cell_id: str
    world_size: int
    samples_per_s: float
    efficiency: float
    low: float | None
    high: float | None
    processes: int
    allreduce: float | None
    slowest_rank: int | None

    @property
    def words(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.efficiency:.0%} (one process)"
        return f"{self.efficiency:.0%} ({self.low:.0%} to {self.high:.0%})"


def scalings(rows: Sequence[Row]) -> list[Scaling]:
    """Every cell on several devices of which there are rows on one; by cell and run order."""
    usable = [row for row in rows if row["status"] == "ok" and row.get("samples_per_s")]
    alone: dict[tuple[Any, ...], list[Row]] = {}
    shared: dict[tuple[Any, ...], list[Row]] = {}
    for row in usable:
        if row["world_size"] == 1:
            alone.setdefault(_key(row), []).append(row)
        else:
            shared.setdefault((row["cell_id"], _key(row)), []).append(row)
    return [_scaling(mine, alone[key]) for (_, key), mine in shared.items() if alone.get(key)]


def _key(row: Row) -> tuple[Any, ...]:
    asked = [part for part in row["cell_id"].split("/") if "=" in part]
    settings = tuple(one for one in asked if one.partition("=")[0] not in OF_THE_WORLD)
    several = len(row.get("ranks") or []) > 1
    threads = row["threads"] if several else (row["threads"] or 0) // row["world_size"]
    return (*(row.get(name) for name in ALIKE), settings, threads if row["device"] == "cpu" else 0)


def _scaling(mine: Sequence[Row], alone: Sequence[Row]) -> Scaling:
    first = mine[0]
    many, one = ([math.log(row["samples_per_s"]) for row in side] for side in (mine, alone))
    log = statistics.fmean(many) - statistics.fmean(one) - math.log(first["world_size"])
    low, high = _interval(many, one, world_size=first["world_size"])
    return Scaling(
        cell_id=first["cell_id"],
        world_size=first["world_size"],
        samples_per_s=math.exp(statistics.fmean(many)),
        efficiency=math.exp(log),
        low=low,
        high=high,
        processes=min(len(mine), len(alone)),
        allreduce=_share(mine),
        slowest_rank=first.get("slowest_rank"),
    )


def _interval(
    many: Sequence[float], one: Sequence[float], *, world_size: int
) -> tuple[float | None, float | None]:
    """Welch's, of the difference of logarithms."""
    if min(len(many), len(one)) < 2:
        return None, None
    found = stats.ttest_ind(many, one, equal_var=False).confidence_interval(LEVEL)
    return math.exp(found.low) / world_size, math.exp(found.high) / world_size


def _share(rows: Sequence[Row]) -> float | None:
    shares = [
        row["allreduce_ms"] / (1e3 * row["batch"] * row["world_size"] / row["samples_per_s"])
        for row in rows
        if row.get("allreduce_ms") is not None
    ]
    return statistics.median(shares) if shares else None


def render(found: Sequence[Scaling], console: Console) -> None:
    if not found:
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in ("cell", "devices", "samples/s", "efficiency", "allreduce/step", "slowest"):
        table.add_column(name, justify="left" if name == "cell" else "right", no_wrap=True)
    for one in found:
        table.add_row(plain(one.cell_id), *_texts(one))
    whole(table, console)


def _texts(one: Scaling) -> Iterator[str]:
    yield str(one.world_size)
    yield f"{one.samples_per_s:.4g}"
    yield one.words
    yield "" if one.allreduce is None else f"{one.allreduce:.1%}"
    yield "" if one.slowest_rank is None else str(one.slowest_rank)


def of_two(rows: Sequence[Row]) -> Iterator[str]:
    """For the README: what two devices of a CPU bring at ``tiny``."""
    yield "| backend | workload | two devices | efficiency | sum of gradients in a step |"
    yield "|---|---|---|---|---|"
    tiny = [row for row in rows if (row["size"], row["device"]) == ("tiny", "cpu")]
    two = [one for one in scalings(tiny) if one.world_size == 2]
    for one in sorted(two, key=lambda one: one.cell_id.split("/")[1::-1]):
        backend, workload, *others = one.cell_id.split("/")
        workload += ", tuned" if "tuned" in others else ""
        share = "" if one.allreduce is None else f"{one.allreduce:.1%}"
        yield f"| {backend} | {workload} | {one.samples_per_s:.4g}/s | {one.words} | {share} |"


def run(arguments: argparse.Namespace) -> int:
    found = scalings(read(*arguments.results))
    if arguments.json:
        print(json.dumps([asdict(one) for one in found]))
    elif found:
        render(found, Console(highlight=False))
    else:
        print("no cell was measured on several devices and on one (--world-size 1,2)")
    return EXIT_OK if found else EXIT_NOTHING
