"""The README's table of parity gates that were run by themselves (``bench parity --out``)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import backends_index
from bench.contract import GENERATE
from bench.gates import deviations
from bench.readme.parts import footnotes, shown
from bench.rows.schema import Row

FOLDER = Path(__file__).resolve().parents[2] / "results" / "parity"


def table(_rows: Sequence[Row]) -> Iterator[str]:
    """Backends against workload, size and batch: the worst deviation, and the memory it took."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted(FOLDER.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            found[one["backend"], _column(one)] = one  # the newest counts
    columns = list(dict.fromkeys(column for _, column in found))
    if not columns:
        yield "Not yet measured."
        return
    yield f"| backend | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    reasons: dict[str, int] = {}
    for backend in backends_index.names():
        trains = backends_index.find(backend).trains
        cells = [
            _cell(found.get((backend, column)), reasons)
            if trains or column.startswith(GENERATE)
            else "unsupported: it only infers"
            for column in columns
        ]
        yield f"| {shown(backend)} | {' | '.join(cells)} |"
    yield from footnotes(reasons)


def _column(one: dict[str, Any]) -> str:
    batch = f", batch {one['batch']}" if one["workload"] == GENERATE else ""
    return f"{one['workload']} {one['size']}{batch}"


def _cell(one: dict[str, Any] | None, reasons: dict[str, int]) -> str:
    if one is None:
        return "not yet measured"
    if one["status"] != "ok":
        return f"{one['status']} ({reasons.setdefault(one['reason'], len(reasons) + 1)})"
    return f"{deviations(one)}; {one['peak_host_mib']:,.0f} MiB"
