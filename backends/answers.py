"""What every framework answers alike, so that no adapter says it anew."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from bench.contract import Cell

TASKS = Path("/proc/self/task")


def thread_names(tasks: Path = TASKS) -> list[str]:
    """Names of this process's threads; those that end while they are counted are left out."""
    names = []
    for task in tasks.iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            names.append((task / "comm").read_text().strip())
    return names


def distribution(*names: str) -> str:
    """The first of a framework's distributions that is installed: some have one for each device."""
    return next((name for name in names if any(metadata.distributions(name=name))), names[0])


def said(attempt: Callable[[], object]) -> str:
    """What a framework says when it refuses, in one line; "" where it does not refuse.

    The first line, or the last one where the message is a traceback from below Python.
    """
    try:
        attempt()
    except Exception as error:  # noqa: BLE001  # each framework has types of its own
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return lines[-1 if lines[0].startswith("Traceback") else 0].strip()
    return ""


def precision(cell: Cell, name: str) -> str | None:
    """Precisions that hardware or the file's format rule out, whatever the framework."""
    if cell.precision == "tf32" and cell.device != "cuda":
        return f"TF32 is a mode of NVIDIA's tensor cores; {cell.device} has none"
    if cell.precision == "int8" and cell.trains:
        return f"{name} does not train in int8"
    if cell.format == "onnx" and cell.precision != "fp32":
        return f"the ONNX exporter writes the model's own type, float32; {cell.precision} is not it"
    return None
