"""``bench export --format prometheus``: the newest figures of each cell, as Prometheus reads them.

Names and base units follow Prometheus's conventions. A file is replaced at once, as node_exporter's
textfile collector wants it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import EXIT_NOTHING, EXIT_OK, UsageError
from bench.rows.reading import read, words
from bench.rows.schema import Row

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Gauge

LABELS = (
    *("cluster", "backend", "backend_version", "workload", "model", "size", "device", "precision"),
    *("mode", "track", "batch", "world_size", "cell_id"),
)
"""The last tells cells apart that differ in a setting, a format or a compile cache."""

OF_WHAT = "median over the processes that ended well of the cell's latest run"

MS, MIB = 1e-3, 2**20


class Figure(NamedTuple):
    """A gauge: its columns by quantile ("" for none), what they are in the base unit, and the text
    that says what it is.
    """

    name: str
    columns: Mapping[str, str]
    scale: float
    doc: str


def _latency(name: str, stem: str, doc: str, quantiles: str = "0.5 0.95 0.99") -> Figure:
    columns = {one: f"{stem}_p{float(one) * 100:.0f}" for one in quantiles.split()}
    return Figure(f"{name}_seconds", columns, MS, doc)


FIGURES = (
    Figure("throughput_samples_per_second", {"": "rate"}, 1, "Samples trained or inferred"),
    _latency("step_latency", "step_ms", "Latency of a training step"),
    _latency("inference_latency", "infer_ms", "Latency of an inference call"),
    _latency("time_to_first_token", "ttft_ms", "From prompts to first tokens", "0.5 0.99"),
    _latency("inter_token_latency", "itl_ms", "From one token to the next", "0.5 0.99"),
    Figure("decode_tokens_per_second", {"": "decode_tokens_per_s"}, 1, "Tokens after the first"),
    Figure("compile_seconds", {"": "compile_s"}, 1, "First step less a steady one"),
    Figure("export_seconds", {"": "export_s"}, 1, "Writing the exported file"),
    Figure("peak_host_memory_bytes", {"": "peak_host_mib"}, MIB, "Most host memory"),
    Figure("peak_device_memory_bytes", {"": "peak_device_mib"}, MIB, "Most device memory"),
    Figure("model_flops_utilization_ratio", {"": "mfu"}, 1, "Of what a matrix product reaches"),
    Figure("accuracy_ratio", {"": "accuracy"}, 1, "Held-out accuracy"),
)


def run(arguments: argparse.Namespace) -> int:
    """Exit code 3 where no cell's latest run has a figure; failures are counted all the same."""
    try:
        from prometheus_client import generate_latest, write_to_textfile  # noqa: PLC0415 - optional
    except ImportError as error:
        raise UsageError(
            "--format prometheus needs Prometheus's client: pip install prometheus-client"
        ) from error
    latest = latest_runs(read(*arguments.results))
    registry = registered(latest)
    if arguments.out is None:
        sys.stdout.write(generate_latest(registry).decode())
    else:
        try:
            write_to_textfile(str(arguments.out), registry)
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot write {arguments.out}: {words(error)}") from error
    return EXIT_OK if any(row["status"] == "ok" for run in latest for row in run) else EXIT_NOTHING


def latest_runs(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows of each cell's latest run on each cluster; trials, which time nothing, left out."""
    runs: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in rows:
        if not row["trial"]:
            cell = runs.setdefault((row["cluster"], row["cell_id"]), {})
            cell.setdefault(row["run_id"], []).append(row)
    return [max(of_cell.values(), key=_newest) for of_cell in runs.values()]


def _newest(rows: Sequence[Row]) -> Any:
    return max(row["started_at"] for row in rows)


def registered(runs: Sequence[Sequence[Row]]) -> CollectorRegistry:
    """All gauges of these runs, in a registry of their own."""
    from prometheus_client import CollectorRegistry, Gauge  # noqa: PLC0415 - only who exports

    registry = CollectorRegistry()

    def gauge(name: str, doc: str, more: Sequence[str] = ()) -> Gauge:
        return Gauge(f"framework_pilot_{name}", doc, (*LABELS, *more), registry=registry)

    for figure in FIGURES:
        _fill(figure, gauge, runs)
    repeats = gauge("repeats", "Processes that ended well in the cell's latest run")
    by_status = gauge("rows", "Rows of the cell's latest run, by how they ended", ["status"])
    last = gauge("last_run_timestamp_seconds", "When the newest process of the cell was started")
    for rows in runs:
        labels = _labels(rows)
        repeats.labels(*labels).set(sum(row["status"] == "ok" for row in rows))
        for status in sorted({row["status"] for row in rows}):
            count = sum(row["status"] == status for row in rows)
            by_status.labels(*labels, status).set(count)
        last.labels(*labels).set(_newest(rows).timestamp())
    return registry


def _fill(figure: Figure, gauge: Callable[..., Gauge], runs: Sequence[Sequence[Row]]) -> None:
    quantiles = [] if "" in figure.columns else ["quantile"]
    made = gauge(figure.name, f"{figure.doc}; {OF_WHAT}", quantiles)
    for rows in runs:
        for quantile, column in figure.columns.items():
            values = [value for row in rows if (value := _value(row, column)) is not None]
            if values:
                label = [quantile] if quantile else []
                made.labels(*_labels(rows), *label).set(statistics.median(values) * figure.scale)


def _value(row: Row, column: str) -> float | None:
    """rate: the throughput, of training or of inference."""
    if row["status"] != "ok":
        return None
    columns = ("samples_per_s", "infer_samples_per_s") if column == "rate" else (column,)
    found = (row[name] for name in columns)
    return next((float(value) for value in found if value is not None), None)


def _labels(rows: Sequence[Row]) -> list[str]:
    """Of one run's cell; a row that failed early does not know its version."""
    version = max(row["backend_version"] for row in rows)
    known = {**rows[0], "backend_version": version}
    # Half of a surrogate pair, which a CSV may hold as an escape, is no UTF-8.
    return [str(known[name]).encode("utf-8", "replace").decode() for name in LABELS]
