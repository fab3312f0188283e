"""The setting ``input=pipeline``: a PyDataset, Keras's own interface for every engine's ``fit``."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from bench.contract import Cell
from bench.pipeline import Samples


class Batched(keras.utils.PyDataset):
    """Full batches of the samples in their order, without an end.

    ``fit`` asks for each when it needs it, on either track: two workers brought the batches in
    another order (the gate's first loss was off by 0.029).
    """

    def __init__(self, cell: Cell, samples: Samples) -> None:
        super().__init__(workers=1)
        self.cell, self.samples = cell, samples
        self.full = len(samples) // cell.batch

    @property
    def num_batches(self) -> int | None:
        """None: there is always another."""
        return None

    def __getitem__(self, index: int) -> tuple[Any, np.ndarray]:
        start = index % self.full * self.cell.batch
        rows = slice(start, start + self.cell.batch)
        *inputs, label = (column[rows] for column in self.samples.columns.values())
        if self.cell.model == "cnn":
            return inputs[0].transpose(0, 2, 3, 1), label.astype(np.int32)
        return tuple(one.astype(np.int32) for one in inputs), label.astype(np.int32)

    @property
    def name(self) -> str:
        """For the fact ``input``."""
        return f"keras.utils.PyDataset, {self.workers} workers"
