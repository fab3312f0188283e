"""The setting ``input=pipeline``: what JAX's users write who take no other framework's loader.

Slices of the host's arrays, sent to the device; tuned, two batches ahead of the step, as
flax.jax_utils.prefetch_to_device does it.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from backends.fed import Fed
from bench.contract import Batch, Batches, Cell
from bench.pipeline import Samples

AHEAD = 2
Send = Callable[[Batch], Any]
"""Makes of a batch on the host what a step takes, on the device."""


class Slices:
    """All full batches of the samples, in their order, on the device."""

    def __init__(self, samples: Samples, batch: int, send: Send, *, ahead: int) -> None:
        self.samples, self.batch, self.send, self.ahead = samples, batch, send, ahead

    def __iter__(self) -> Iterator[Any]:
        queue: collections.deque[Any] = collections.deque()
        for start in range(0, len(self.samples) - self.batch + 1, self.batch):
            rows = slice(start, start + self.batch)
            columns = self.samples.columns.items()
            queue.append(self.send({name: column[rows] for name, column in columns}))
            if len(queue) > self.ahead:
                yield queue.popleft()
        yield from queue


def endless(cell: Cell, batches: Batches, send: Send) -> Iterator[Any]:
    """Those on the device again and again, or slices of the samples."""
    if batches.samples is None:
        return itertools.cycle([send(batch) for batch in batches.train])
    ahead = AHEAD if cell.track == "tuned" else 0
    slices = Slices(batches.samples, cell.batch, send, ahead=ahead)
    return Fed(slices, lambda sent: sent, name=f"slices of numpy arrays, {ahead} ahead")
