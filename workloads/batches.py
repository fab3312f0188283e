"""Cut the prepared data into batches, the same way for every backend.

Worker half: stdlib and numpy only, nothing newer than Python 3.9.

The data file holds ``train.*`` and ``test.*`` tensors, shuffled when they were prepared, so
batches are consecutive slices. Every batch is full: a short last one would make compiled
frameworks compile a second time.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bench.contract import Batch, Batches, inputs_of

KEYS = {
    "cnn": ("image", "label"),
    "transformer": ("ids", "mask", "label"),
    "decoder": ("ids", "label"),
    "lora": ("ids", "label"),
}
"""What a batch of each model holds, see ``bench.contract.Batch``; of others the data says it."""

Data = Mapping[str, np.ndarray]


def make(data: Data, *, model: str, batch: int, train_batches: int, infer_batches: int) -> Batches:
    """The first batches of the training split and of the held-out split.

    Both start again from the first sample where the split ends, so any number can be had.
    Raises KeyError where the data is another model's.
    """
    return Batches(
        train=[_cut(data, "train", model, batch, i) for i in range(train_batches)],
        infer=[_cut(data, "test", model, batch, i) for i in range(infer_batches)],
    )


def epoch(data: Data, *, model: str, batch: int, seed: int) -> list[Batch]:
    """The whole training split in an order of the seed's own; what fills no batch is left out."""
    total = len(data["train.label"])
    order = np.random.RandomState(seed).permutation(total)[: total // batch * batch]
    return [_rows(data, "train", model, rows) for rows in order.reshape(-1, batch)]


def held_out(data: Data, *, model: str, batch: int, limit: int) -> list[Batch]:
    """The full batches within the first ``limit`` held-out samples, each sample once.

    What does not fill a batch is left out. Raises ValueError where not even one is full.
    """
    count = min(limit, len(data["test.label"])) // batch
    if not count:
        raise ValueError(f"batch {batch} is larger than the {limit} held-out samples asked for")
    return [_cut(data, "test", model, batch, i) for i in range(count)]


def columns(data: Data, split: str, model: str) -> Batch:
    """A whole split, as one batch would have it."""
    keys = KEYS.get(model) or (*inputs_of(model, _count(data, split) - 1), "label")
    return {key: data[f"{split}.{key}"] for key in keys}


def _cut(data: Data, split: str, model: str, batch: int, index: int) -> Batch:
    total = len(data[f"{split}.label"])
    return _rows(data, split, model, np.arange(index * batch, (index + 1) * batch) % total)


def _rows(data: Data, split: str, model: str, rows: np.ndarray) -> Batch:
    whole = columns(data, split, model)
    return {key: np.ascontiguousarray(column[rows]) for key, column in whole.items()}


def _count(data: Data, split: str) -> int:
    return sum(name.startswith(f"{split}.") for name in data)
