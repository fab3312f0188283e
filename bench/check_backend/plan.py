"""Which questions are asked under which cell. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from backends.entry import Entry
from bench import grid
from bench.contract import Cell
from workloads import catalogue

TINY = "tiny"
MODELS = ("cnn", "transformer")
FORMER = ("names", "devices")
"""Where these do not hold, nothing else can be asked."""

OF_ADAPTER = ("refusals", "launch", "settings", "kernels", "stream", "memory", "capabilities")
OF_TRAINING = ("parity", "repeats", "wait", "closed")
OF_INFERENCE = ("parity", "wait", "closed")
THREADS = 1  # with more, a neighbour on the machine makes them wait for each other


@dataclass(frozen=True)
class Exercise:
    """A cell and what is asked under it, in one worker where all goes well."""

    cell: Cell
    questions: tuple[str, ...]

    @property
    def label(self) -> str:
        """How its lines end."""
        parts = (self.cell.format, self.cell.model, self.cell.precision)
        return " ".join(filter(None, ("export" if self.cell.format else "train", *parts)))


def first(backend: str, entry: Entry, device: str) -> Cell:
    """What the adapter itself is asked under."""
    plain = cell_of(backend, entry, device, "cnn")
    return next(_cells(backend, entry, device, "cnn", "fp32"), plain)


def exercises(backend: str, entry: Entry, device: str) -> Iterator[Exercise]:
    """The adapter first; then each model, in float32 in full and in other precisions shortly."""
    able = OF_ADAPTER if entry.capabilities else OF_ADAPTER[:-1]
    yield Exercise(first(backend, entry, device), able)
    for precision in grid.PRECISIONS:
        for model in MODELS:
            for cell in _cells(backend, entry, device, model, precision):
                fully = (
                    OF_TRAINING if cell.trains else (*OF_INFERENCE, *_torn(backend, entry, cell))
                )
                yield Exercise(cell, fully if precision == "fp32" else ("parity",))
    if not entry.trains:  # that it does not train has to be said in words
        yield Exercise(cell_of(backend, entry, device, "cnn"), ("parity",))


def _torn(backend: str, entry: Entry, cell: Cell) -> tuple[str, ...]:
    """Only who reads a format can refuse a torn file of it."""
    return ("torn",) if entry.formats[cell.format] == backend else ()


def _cells(backend: str, entry: Entry, device: str, model: str, precision: str) -> Iterator[Cell]:
    """Training; each format's inference in float32, and the first one's where there is no other."""
    plain = replace(cell_of(backend, entry, device, model), precision=precision)
    if entry.trains:
        yield plain
    formats = tuple(entry.formats)
    for written in formats if precision == "fp32" else formats[: not entry.trains]:
        yield replace(plain, workload="export", format=written, batch=1)


def cell_of(backend: str, entry: Entry, device: str, model: str) -> Cell:
    """The tiny cell that trains, in float32 and the usual mode; tuned where variables tune it."""
    spec = catalogue.size(model, model, TINY)
    return Cell(
        backend=backend,
        workload=model,
        model=model,
        size=TINY,
        device=device,
        precision="fp32",
        mode=entry.modes[0],
        # Variables may be all that keeps a step from taking seconds (MindSpore on AVX-512).
        track="tuned" if entry.tuned_env else "out-of-box",
        batch=spec.batch,
        dims=spec.dims,
        optimizer=spec.optimizer,
        threads=THREADS,
    )


def ladders(backend: str, entry: Entry, device: str) -> Iterator[Cell]:
    """Every format's export of every model."""
    for model in MODELS:
        cells = _cells(backend, entry, device, model, "fp32")
        yield from (cell for cell in cells if cell.format)
