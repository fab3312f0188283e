"""What a row says of its cell and its machine before anything runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bench import machine
from bench.backends_index import find
from bench.contract import Cell
from bench.rows import schema
from bench.trials import TRIAL


def of(cell: Cell, repeat: int, *, run_id: str, cluster: str) -> dict[str, Any]:
    """The columns that are known before anything runs."""
    return {
        "schema": schema.VERSION,
        "run_id": run_id,
        "cell_id": cell.id,
        "repeat": repeat,
        "started_at": datetime.now(UTC),
        "cluster": cluster,
        "host": machine.host(),
        "backend": cell.backend,
        "workload": cell.workload,
        "model": cell.model,
        "size": cell.size,
        "device": cell.device,
        "device_name": machine.device_name(cell.device),
        "precision": cell.precision,
        "mode": cell.mode,
        "track": cell.track,
        "batch": cell.batch,
        "world_size": cell.world_size,
        "threads": cell.threads,
        "load1": machine.load1(),
        "driver": machine.driver(cell.device),
        "git_rev": machine.git_rev(),
        "compile_cache": cell.compile_cache,
        "export_format": cell.format,
        "capability": cell.capability,
        "trial": cell.settings.get(TRIAL, ""),
        "settings": dict(cell.settings),
        "archived": find(cell.backend).archived,
    }
