"""What training is fed with: batches that lie on the device, or torch's DataLoader.

The setting ``input=pipeline``. Out of the box the DataLoader has the defaults of its documentation,
no workers; tuned, as its performance guide says, a worker for each thread, which stay, and pinned
memory where there is a GPU.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from backends.fed import Fed
from backends.torch.placing import device, memory_format, place
from bench.contract import Batches, Cell
from bench.pipeline import Samples

Sample = tuple[tuple[Tensor, ...], Tensor]
"""A batch: the model's inputs, and the labels."""


class Rows(Dataset[Any]):
    """Samples for a DataLoader, each as the model's inputs and the label."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        # Copied: they are read-only views, and torch has no read-only tensors.
        *inputs, label = (np.array(column) for column in self.samples[index])
        return tuple(inputs), label


def options(cell: Cell) -> dict[str, Any]:
    """Of the DataLoader; the samples were shuffled when they were prepared."""
    made: dict[str, Any] = {"batch_size": cell.batch, "drop_last": True}
    if cell.model == "cnn":
        made["collate_fn"] = partial(images, memory_format=memory_format(cell))
    if cell.track == "tuned":
        pins = device(cell).type == "cuda"
        made |= {"num_workers": cell.threads, "persistent_workers": True, "pin_memory": pins}
    return made


def images(samples: list[Any], *, memory_format: torch.memory_format) -> Any:
    """A batch of images in the model's memory format, and their labels."""
    inputs, label = default_collate(samples)
    return [image.to(memory_format=memory_format) for image in inputs], label


def loader(cell: Cell, samples: Samples) -> DataLoader[Any]:
    return DataLoader(Rows(samples), **options(cell))


def placed(cell: Cell, batches: Batches) -> list[Sample]:
    """All on the device."""
    to = device(cell)
    return [
        (place(cell, batch), torch.from_numpy(np.array(batch["label"])).to(to))
        for batch in batches.train
    ]


def endless(cell: Cell, batches: Batches) -> Iterator[Sample]:
    """Those on the device again and again, or what a DataLoader brings."""
    if batches.samples is None:
        return itertools.cycle(placed(cell, batches))
    made = loader(cell, batches.samples)
    return Fed(made, partial(send, cell), name=name(made, made.num_workers))


def send(cell: Cell, brought: Any) -> Sample:
    """A batch of a loader, to the device."""
    (inputs, label), to = brought, device(cell)
    moved = tuple(one.to(to, non_blocking=True) for one in inputs)
    return moved, label.to(to, non_blocking=True)


def name(made: object, workers: int) -> str:
    """For the fact ``input``: which loader, and how many processes prepare what it brings."""
    return f"{type(made).__name__}, {workers} workers"
