"""The setting ``input=pipeline``: paddle.io's DataLoader, as Paddle's guide uses it.

Out of the box it has no workers, and a thread that reads ahead; tuned, a process for each thread.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from paddle.io import DataLoader, Dataset

from backends.fed import Fed
from bench.contract import Batch, Batches, Cell
from bench.pipeline import Samples


class Rows(Dataset):
    """Samples, each as the model's inputs and the label."""

    def __init__(self, samples: Samples) -> None:
        super().__init__()
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return tuple(np.array(column) for column in self.samples[index])


def endless(cell: Cell, batches: Batches, place: Callable[[Batch], Any]) -> Iterator[Any]:
    """Those on the device again and again, or a DataLoader's. place: of a batch on the host."""
    if batches.samples is None:
        return itertools.cycle([place(batch) for batch in batches.train])
    workers = cell.threads if cell.track == "tuned" else 0
    loader = DataLoader(
        Rows(batches.samples),
        batch_size=cell.batch,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    name = f"paddle.io.DataLoader, {workers} workers"
    return Fed(loader, lambda brought: (brought[:-1], brought[-1]), name=name)
