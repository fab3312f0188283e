"""What every framework answers alike, so that no adapter says it anew."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

from backends.ranks import BATCHNORM
from bench.contract import Cell, Settings

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


def dtypes(
    *,
    parameters: Iterable[object],
    compute: Iterable[object],
    reduce: Iterable[object] = (),
    optimizer: Iterable[object] = (),
) -> Settings:
    """The fact ``dtypes``: of each use the types, by their plain names.

    parameters: as they are kept; compute: what a product has; reduce: gradients, as devices add
    them up; optimizer: moments. What is not known is left out, and all before a product was made.
    """
    uses = {"parameters": parameters, "compute": compute, "reduce": reduce, "optimizer": optimizer}
    named = {use: "/".join(sorted({_plain(one) for one in types})) for use, types in uses.items()}
    known = {use: names for use, names in named.items() if names}
    return {"dtypes": known} if "compute" in known else {}


def _plain(dtype: object) -> str:
    """``torch.float32`` and ``Float32`` are ``float32``."""
    return str(dtype).rpartition(".")[2].lower()


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


def recompute(cell: Cell) -> str | None:
    """Activation checkpointing, where there are no activations to keep."""
    if "recompute" in cell.settings and not cell.trains:
        return "recompute=on trades memory for time in training, and this cell only infers"
    return None


def batchnorm(cell: Cell) -> str | None:
    """BatchNorm over several devices, where there is none or only one."""
    if BATCHNORM not in cell.settings:
        return None
    if cell.model != "cnn" or not cell.trains:
        return "batchnorm=synchronised is of training, and of the cnn: nothing else has statistics"
    if cell.world_size == 1:
        return "one device sees the whole batch anyway: batchnorm=synchronised needs a second one"
    return None


def precision(cell: Cell, name: str) -> str | None:
    """Precisions that hardware or the file's format rule out, whatever the framework."""
    if cell.precision == "tf32" and cell.device != "cuda":
        return f"TF32 is a mode of NVIDIA's tensor cores; {cell.device} has none"
    if cell.precision == "int8" and cell.trains:
        return f"{name} does not train in int8"
    if cell.format == "onnx" and cell.precision != "fp32":
        return f"the ONNX exporter writes the model's own type, float32; {cell.precision} is not it"
    return None
