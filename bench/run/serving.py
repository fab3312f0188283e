"""Exports have two processes: the exporter's, and that of the backend that reads the file back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bench.backends_index import find
from bench.child import isolation
from bench.contract import Cell
from bench.grid import reader_of

MEASURED_BY_CONSUMER = ("export_rung", "export_max_abs_err", "accuracy", "accuracy_reference")
Row = dict[str, Any]


def consumer_of(cell: Cell) -> Cell:
    """The cell whose process reads an export back: the registry names the backend for the format,
    unless the setting ``reader`` does.

    Another backend gets its own usual mode: what is judged is the file, not the exporter's options.
    """
    backend = reader_of(cell, find)
    if backend == cell.backend:
        return cell
    return replace(cell, backend=backend, mode=find(backend).modes[0], settings={})


def merged(exported: Row, served: Row, *, consumer: str) -> Row:
    """The exporter's columns, and from the consumer what only it could measure."""
    taken = {
        key: value
        for key, value in served.items()
        if key not in exported or key in MEASURED_BY_CONSUMER
    }
    for peak in ("peak_host_mib", "peak_device_mib"):
        both = [row[peak] for row in (exported, served) if row.get(peak) is not None]
        taken[peak] = max(both, default=None)
    # What served the file ran under settings of its own, also where it is the same framework.
    theirs = {key: value for key, value in served["settings"].items() if key != isolation.SETTING}
    served_by = {consumer: served.get("backend_version"), **theirs}
    settings = exported["settings"] | {"consumer": served_by}
    return exported | taken | {"settings": settings}
