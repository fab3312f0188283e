"""``bench export``: rows as the JSON that pytest-benchmark and the tools around it read.

A cell is a benchmark, a fresh process one of its rounds, with the seconds of its median step. So
what ``pytest-benchmark compare`` shows as a standard deviation is the one between processes.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from bench.errors import EXIT_NOTHING, EXIT_OK, UsageError
from bench.rows.files import read
from bench.rows.schema import Row


def run(arguments: argparse.Namespace) -> int:
    rows = read(*arguments.results)
    text = json.dumps(document(rows), indent=2, allow_nan=False) + "\n"
    if arguments.out is None:
        sys.stdout.write(text)
    else:
        try:
            arguments.out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {arguments.out}: {error.strerror}") from error
    return EXIT_OK if any(step_s(row) for row in rows) else EXIT_NOTHING


def document(rows: Sequence[Row]) -> dict[str, Any]:
    """All cells that were measured; of the machine and the commit what the newest row says."""
    from pytest_benchmark import __version__  # noqa: PLC0415  # only who exports needs it

    cells: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if step_s(row):
            cells.setdefault((row["cluster"], row["cell_id"]), []).append(row)
    newest = max(rows, key=lambda row: row["started_at"], default={})
    return {
        "machine_info": {
            "node": newest.get("host", ""),
            "machine": platform.machine(),
            "system": "Linux",
            "python_version": newest.get("env_python", ""),
            "cpu": {"brand_raw": newest.get("device_name", "")},
        },
        "commit_info": {"id": newest.get("git_rev") or "unknown", "dirty": False},
        "benchmarks": [_benchmark(group) for group in cells.values()],
        "datetime": str(newest.get("started_at", "")),
        "version": __version__,
    }


def step_s(row: Row) -> float | None:
    """Seconds of a step: of all processes' samples together, at the row's throughput."""
    rate = row.get("samples_per_s") or row.get("infer_samples_per_s")
    if row["status"] != "ok" or not rate:
        return None
    return float(row["batch"] * row["world_size"] / rate)


def _benchmark(rows: Sequence[Row]) -> dict[str, Any]:
    first = rows[0]
    cluster = f"{first['cluster']}/" if first["cluster"] else ""
    return {
        "group": f"{first['workload']}/{first['model']}/{first['size']}",
        "name": f"{cluster}{first['cell_id']}",
        "fullname": f"{cluster}{first['cell_id']}",
        "params": {name: first[name] for name in ("backend", "precision", "mode", "batch")},
        "param": first["backend"],
        "extra_info": {
            "backend_version": first["backend_version"],
            "peak_host_mib": max((row["peak_host_mib"] or 0 for row in rows), default=0),
            "parity": first["parity"],
            "track": first["track"],
        },
        "options": {"disable_gc": False, "timer": "perf_counter", "warmup": True},
        "stats": _stats(one for row in rows if (one := step_s(row))),
    }


def _stats(seconds: Iterable[float]) -> dict[str, Any]:
    """pytest-benchmark's own figures, by its own code."""
    from pytest_benchmark.stats import Stats  # noqa: PLC0415  # only who exports needs it

    stats: Any = Stats()  # type: ignore[no-untyped-call]
    for one in seconds:
        stats.update(one)
    return {**stats.as_dict(), "iterations": 1, "data": stats.data}
