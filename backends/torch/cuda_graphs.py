"""CUDA graphs: torch.compile's mode ``reduce-overhead``. The setting ``cuda_graphs=on``.

What was recorded is launched as a whole: kernels that are shorter than their launches gain.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch._inductor import cudagraph_trees  # nothing public tells what was recorded

from bench.contract import Cell, Unsupported

SETTING = "cuda_graphs"


def unsupported(cell: Cell) -> str | None:
    """Why the cell cannot have them, in words."""
    if SETTING not in cell.settings:
        return None
    if cell.device != "cuda":
        return f"CUDA graphs are recorded on NVIDIA's GPUs, and this cell's device is {cell.device}"
    if cell.mode != "compiled":
        return "cuda_graphs=on is torch.compile's mode reduce-overhead: it needs mode compiled"
    if not cell.trains:
        return "cuda_graphs=on is a setting of training here: a file is served as it was exported"
    if cell.world_size > 1:
        return "cuda_graphs=on is for one device here: nobody has tried it beside collectives"
    return None


def options(cell: Cell) -> dict[str, Any] | None:
    """For torch.compile: those of ``mode="reduce-overhead"``, which would skip in silence what
    cannot be recorded. With one more that is an error.
    """
    if SETTING not in cell.settings:
        return None
    theirs = torch._inductor.list_mode_options("reduce-overhead")  # noqa: SLF001  as documented
    return {**theirs, "triton.cudagraph_or_error": True}


def recorded() -> int:
    """How many graphs; each compiled function has one, forward and backward apart."""
    manager = cudagraph_trees.get_manager(torch.cuda.current_device(), create_if_none_exists=False)
    return next(copy.copy(manager.graph_counter)) if manager else 0


def check(cell: Cell) -> None:
    """After some steps: Unsupported where torch has recorded none after all."""
    if SETTING in cell.settings and not recorded():
        raise Unsupported("torch.compile has recorded no CUDA graph, and does not say why")
