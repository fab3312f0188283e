"""keras.applications' ResNet and KerasHub's BERT in Keras's own ``fit``."""

from __future__ import annotations

from backends.keras import zoo
from backends.keras.programs import Training
from bench.contract import Batches, Cell, Program

MODELS = zoo.MODELS
MISSING: dict[str, str] = {}


def build(cell: Cell, batches: Batches) -> Program:
    """The public model at the cell's dimensions, in the adapter's own training loop."""
    return Training(cell, zoo.make(cell.dims), batches)
