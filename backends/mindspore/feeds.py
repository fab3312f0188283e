"""The setting ``input=pipeline``: mindspore.dataset, as MindSpore's tutorial uses it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from mindspore import dataset

from backends.fed import Fed
from bench.contract import Batch, Batches, Cell
from bench.pipeline import Samples


class Rows:
    """A source with random access; labels as int32, which MindSpore's losses take."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        *inputs, label = self.samples[int(index)]
        return (*(np.array(one) for one in inputs), label.astype(np.int32))


def endless(cell: Cell, batches: Batches, place: Callable[[Batch], Any]) -> Iterator[Any]:
    """Those on the device again and again, or the data set's. place: of a batch on the host."""
    if batches.samples is None:
        return itertools.cycle([place(batch) for batch in batches.train])
    workers = cell.threads if cell.track == "tuned" else 1
    names = list(batches.samples.columns)
    made = dataset.GeneratorDataset(
        Rows(batches.samples),
        names,
        shuffle=False,
        num_parallel_workers=workers,
        python_multiprocessing=False,
    ).batch(cell.batch, drop_remainder=True)
    return Fed(Epochs(made), lambda brought: (brought[:-1], brought[-1]), name=name(workers))


class Epochs:
    """A data set whose iteration is one epoch of tensors."""

    def __init__(self, made: dataset.Dataset) -> None:
        self.made = made

    def __iter__(self) -> Iterator[Any]:
        return iter(self.made.create_tuple_iterator(num_epochs=1))


def name(workers: int) -> str:
    return f"mindspore.dataset.GeneratorDataset, {workers} threads"
