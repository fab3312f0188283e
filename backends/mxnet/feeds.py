"""The setting ``input=pipeline``: Gluon's DataLoader, as its tutorial uses it.

Out of the box it has no workers; tuned, a process for each thread.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from mxnet.context import Context
from mxnet.gluon.data import DataLoader, Dataset

from backends.fed import Fed
from bench.contract import Batch, Batches, Cell
from bench.pipeline import Samples


class Rows(Dataset):
    """Samples, each as the model's inputs and the label, as float32, which Gluon computes with."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return tuple(column.astype(np.float32) for column in self.samples[index])


def endless(
    cell: Cell, batches: Batches, place: Callable[[Batch], Any], *, where: Context
) -> Iterator[Any]:
    """Those on the device again and again, or a DataLoader's. place: of a batch on the host."""
    if batches.samples is None:
        return itertools.cycle([place(batch) for batch in batches.train])
    workers = cell.threads if cell.track == "tuned" else 0
    rows = Rows(batches.samples)
    loader = DataLoader(rows, batch_size=cell.batch, last_batch="discard", num_workers=workers)

    def send(brought: Any) -> Any:
        *inputs, label = (one.as_in_context(where) for one in brought)
        return tuple(inputs), label

    return Fed(loader, send, name=f"gluon.data.DataLoader, {workers} workers")
