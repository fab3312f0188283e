"""The pilot's table on a terminal, and the one line that counts what happened.

Parent half. Repeats of a cell are one line: counts by status, and medians over the ok ones. Rows of
different runs are never pooled. What was not measured is blank.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from bench.rows.consistency import infers
from bench.rows.schema import RUNGS, STATUSES, Row
from bench.text import plain

_REASON_LIMIT = 300
"""Characters of a reason that are shown; the file has all of it."""

_VARYING = ("size", "device", "track", "compile_cache", "world_size", "batch", "setting")
"""Shown only where lines of one backend, workload, model and format differ in them."""

ARCHIVED = "*"
"""Stands beside the name of a backend whose upstream is archived."""

_GENERATED = {
    "first\nms": "ttft_ms_p50",
    "between\nms": "itl_ms_p50",
    "tokens/s": "decode_tokens_per_s",
}
"""Shown only where a line has generated: to the first token, between two, and how many after it."""

_FIGURES = ("samples/s", "p50\nms", "compile\ns", "host\nMiB", *_GENERATED)
_WRAPPED = ("workload", "status", "export\nrung")

_LABEL = ("backend", "workload", "model", "export_format", "capability", "precision", "mode")


@dataclass(frozen=True)
class _Line:
    """The repeats of one cell in one run."""

    rows: Sequence[Row]

    @property
    def first(self) -> Row:
        return self.rows[0]

    @property
    def backend(self) -> str:
        return f"{self.first['backend']}{ARCHIVED if _archived(self.first) else ''}"

    @property
    def workload(self) -> str:
        if self.first.get("capability"):
            return f"{self.first['workload']} {self.first['capability']}"
        workload, model = self.first["workload"], self.first["model"]
        return workload if workload == model else f"{workload} {model}"

    @property
    def outcome(self) -> str:
        """``ok``, ``ok n=3`` or ``ok n=2, crashed n=1``."""
        counts = Counter(row["status"] for row in self.rows)
        if len(self.rows) == 1:
            return str(self.first["status"])
        return ", ".join(f"{name} n={counts[name]}" for name in STATUSES if counts[name])

    def median(self, name: str) -> str:
        """The median over the ok rows; for a throughput or latency, inference's on export rows."""
        known = [row.get(name) for row in self.rows if row["status"] == "ok"]
        numbers = [value for value in known if value is not None]
        return _figure(statistics.median(numbers)) if numbers else ""

    @property
    def parity(self) -> str:
        """One repeat that failed is enough."""
        found = {row.get("parity") or "" for row in self.rows}
        return "failed" if "failed" in found else max(found)

    @property
    def rung(self) -> str:
        """The format, and the lowest rung of the repeats."""
        found = [RUNGS.index(row["export_rung"]) for row in self.rows if row.get("export_rung")]
        return f"{self.first['export_format']} {RUNGS[min(found)]}" if found else ""


def render(rows: Sequence[Row], *, console: Console) -> None:
    """Print the table, and below it why each row that is not ok is not."""
    lines = _fold(rows)
    table = _table(lines, shown=_differing(lines))
    whole(table, console)
    for reason in _archives(rows) + _reasons(rows):
        console.print(reason, soft_wrap=True)


def whole(table: Table, console: Console) -> None:
    """Print it; a pipe or a file has no width, so nothing is wrapped or cut for one."""
    width = console.width
    if not console.is_terminal:
        unbounded = console.options.update(width=10_000)
        console.width = max(width, Measurement.get(console, unbounded, table).maximum)
    try:
        console.print(table)
    finally:
        console.width = width


def summary(rows: Sequence[Row]) -> str:
    """``5 rows: 3 ok, 1 unsupported, 1 crashed``."""
    counts = Counter(row["status"] for row in rows)
    parts = [f"{counts[status]} {status}" for status in STATUSES if counts[status]]
    noun = "row" if len(rows) == 1 else "rows"
    return f"{len(rows)} {noun}: {', '.join(parts)}" if rows else "no rows"


def _fold(rows: Sequence[Row]) -> list[_Line]:
    """One line a cell and run, in the order of their first rows."""
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        cells.setdefault((row["run_id"], row["cell_id"]), []).append(row)
    return [_Line(group) for group in cells.values()]


def _differing(lines: Sequence[_Line]) -> list[str]:
    """The further columns without which two lines would look like one cell."""
    alike: dict[tuple[object, ...], list[_Line]] = {}
    for line in lines:
        alike.setdefault(tuple(line.first.get(name) for name in _LABEL), []).append(line)
    return [
        name
        for name in _VARYING
        if any(len({_value(line, name) for line in group}) > 1 for group in alike.values())
    ]


def _table(lines: Sequence[_Line], *, shown: Sequence[str]) -> Table:
    columns = _columns(shown)
    if not any(line.median(name) for line in lines for name in _GENERATED.values()):
        columns = {name: get for name, get in columns.items() if name not in _GENERATED}
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for name in columns:
        # Only columns of several words may wrap: half a number or half a name says nothing.
        right = name in _FIGURES
        table.add_column(
            name,
            justify="right" if right else "left",
            no_wrap=name not in _WRAPPED,
            overflow="fold",
        )
    for line in lines:
        style = "" if all(row["status"] == "ok" for row in line.rows) else "yellow"
        # Text, not str: brackets in a name are not markup.
        table.add_row(*(Text(plain(get(line)), style=style) for get in columns.values()))
    return table


def _columns(shown: Sequence[str]) -> dict[str, Callable[[_Line], str]]:
    """Header -> what stands in the column; ``shown`` are the further columns."""
    return {
        "backend": lambda line: (
            f"{line.first['backend']}{ARCHIVED if _archived(line.first) else ''}"
        ),
        "workload": lambda line: line.workload,
        "prec.": lambda line: str(line.first["precision"]),
        "mode": lambda line: str(line.first["mode"]),
        **{name.replace("_", "\n"): _getter(name) for name in shown},
        "status": lambda line: line.outcome,
        "samples/s": lambda line: line.median(_prefix(line) + "samples_per_s"),
        "p50\nms": lambda line: line.median(f"{_prefix(line) or 'step_'}ms_p50"),
        **{header: _median(name) for header, name in _GENERATED.items()},
        "compile\ns": lambda line: line.median("compile_s"),
        "host\nMiB": lambda line: line.median("peak_host_mib"),
        "parity": lambda line: line.parity,
        "export\nrung": lambda line: line.rung,
    }


def _median(name: str) -> Callable[[_Line], str]:
    return lambda line: line.median(name)


def _getter(name: str) -> Callable[[_Line], str]:
    return lambda line: _value(line, name)


def _value(line: _Line, name: str) -> str:
    """A column as text; ``setting`` is what was asked for, and stands in the cell's id alone."""
    if name == "setting":
        return " ".join(part for part in line.first["cell_id"].split("/") if "=" in part)
    return str(line.first.get(name) or "")


def _archived(row: Row) -> str:
    return str(row.get("archived") or "")


def _archives(rows: Sequence[Row]) -> list[Text]:
    """What the mark beside a backend's name means, once for each backend that has it."""
    told = {row["backend"]: _archived(row) for row in rows if _archived(row)}
    return [
        Text(f"{ARCHIVED} {plain(backend)}: its upstream is archived since {plain(since)}")
        for backend, since in told.items()
    ]


def _reasons(rows: Sequence[Row]) -> list[Text]:
    """One line for each distinct reason of a cell, however many repeats gave it.

    An ok row has one where it stopped short: an export whose batch is fixed, say.
    """
    told = (
        f"{row['status']}: {row['cell_id']}: {_short(row['reason'])}"
        for row in rows
        if row["reason"]
    )
    return [Text(line) for line in dict.fromkeys(told)]


def _short(reason: str) -> str:
    said = plain(reason)
    return said if len(said) <= _REASON_LIMIT else said[: _REASON_LIMIT - 3] + "..."


def _prefix(line: _Line) -> str:
    return "infer_" if infers(line.first) else ""


def _figure(value: float) -> str:
    """Three significant digits, or all digits of the whole part."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
