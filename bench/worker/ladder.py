"""The export ladder: how far an exported file gets in the process that consumes it.

Worker half. The consumer is a fresh process of the backend that the registry names for the format
(ONNX Runtime for ``onnx``, the exporter's own framework for ``native``), so one checker and one
runtime judge every exporter.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.contract import Adapter, Batches, Cell, Program
from bench.parity import BOUNDS, relative_error

GATE, TIMED = 0, 1
"""Places in ``Batches.infer``: the batch of the parity gate, and the one that is timed, which has
the cell's batch size. An exporter that can only write static shapes writes that size."""

Logits = Mapping[int, np.ndarray]
"""The exporter's own logits, by place in ``Batches.infer``."""


@dataclass
class Climb:
    """The rung reached, the error met there (None: none so far) and the program to time.

    load_s: seconds to load the file and to have its first answer.
    """

    rung: str = "exported"
    error: str | None = None
    max_abs_err: float | None = None
    program: Program | None = None
    load_s: float | None = None


def climb(adapter: Adapter, cell: Cell, path: Path, batches: Batches, theirs: Logits) -> Climb:
    """Check, load, compare with the exporter's own logits, and try another batch size."""
    state = Climb()

    def load() -> None:
        started = time.perf_counter()
        state.program = adapter.load(cell, path, batches)
        state.load_s = time.perf_counter() - started

    def agree(index: int) -> None:
        started = time.perf_counter()
        ours = _logits(state.program, index)
        if index == TIMED:
            state.load_s = (state.load_s or 0.0) + time.perf_counter() - started
        _agree(state, ours, theirs, index=index, bound=BOUNDS[cell.precision].logits)

    steps: list[tuple[str, Callable[[], object]]] = [
        ("checked", lambda: adapter.check(cell, path)),
        ("loaded", load),
        ("numerics", lambda: agree(TIMED)),
        ("dynamic_batch", lambda: agree(_another_size(batches))),
    ]
    for rung, step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001  # the consumer's own words are the result
            state.error = f"{rung}: {first_line(error)}"
            return state
        state.rung = rung
    return state


def _another_size(batches: Batches) -> int:
    """The first batch whose size is not that of the timed one."""
    sizes = [len(batch["label"]) for batch in batches.infer]
    for index, size in enumerate(sizes):
        if size != sizes[TIMED]:
            return index
    raise LookupError("there is no batch of another size to try")


def _agree(state: Climb, ours: np.ndarray, theirs: Logits, *, index: int, bound: float) -> None:
    """With the exporter's own logits; of a batch that it was not asked for, they are numbers."""
    if index in theirs:
        _compare(state, ours, theirs[index], bound)
    elif index == TIMED:
        raise LookupError("the exporter left no logits to compare with")
    elif not np.isfinite(ours).all():
        raise ArithmeticError("logits that are not finite")


def _compare(state: Climb, ours: np.ndarray, theirs: np.ndarray, bound: float) -> None:
    """Note the largest difference; raise ArithmeticError where it is out of bounds."""
    error = relative_error(ours, theirs)
    if math.isfinite(error):  # else there is no largest difference: the figure stays empty
        most = float(np.abs(ours - theirs).max())
        state.max_abs_err = max(state.max_abs_err or 0.0, most)
    if not error <= bound:
        raise ArithmeticError(f"logits off by {error:.2g} (bound {bound:.0e})")


def _logits(program: Program | None, index: int) -> np.ndarray:
    assert program is not None  # the rung before this one set it
    program.infer(index)
    return program.logits()


def first_line(error: BaseException, limit: int = 300) -> str:
    """An exception as one line: its type and the first line of its message."""
    text = next(iter(str(error).strip().splitlines()), "")
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return line if len(line) <= limit else line[: limit - 3] + "..."
