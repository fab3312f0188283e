"""Two contexts in one process, as in Gluon's tutorial "Use GPUs": each batch is split over them.

The Trainer's kvstore adds the gradients up, updates, and gives every context the new parameters.
"""

from __future__ import annotations

import itertools

import mxnet as mx
from mxnet import autograd, gluon
from mxnet.gluon import HybridBlock
from mxnet.ndarray import NDArray

from backends.mxnet.precision import dtype_name
from backends.mxnet.programs import Training
from backends.ranks import replicas
from bench.contract import Batches, Cell, Kernel, Settings

STORE = "device"
"""The kvstore's kind: gradients are added up on the contexts, not on the host."""


def contexts(cell: Cell) -> list[mx.Context]:
    kind = mx.cpu if cell.device == "cpu" else mx.gpu
    return [kind(index) for index in range(cell.world_size)]


def allreduce(cell: Cell, n: int) -> Kernel | None:
    """Sums n float32 numbers over the contexts, as the Trainer does without an optimizer there."""
    if cell.world_size == 1:
        return None
    store, parts = mx.kv.create(STORE), [mx.nd.ones(n, ctx=one) for one in contexts(cell)]
    store.init(0, parts[0])
    return Kernel(lambda: store.pushpull(0, parts, out=parts), lambda _: mx.nd.waitall())


class Parallel(Training):
    """What infers uses the first context."""

    def __init__(self, cell: Cell, model: HybridBlock, batches: Batches) -> None:
        self.contexts = contexts(cell)
        self.store = mx.kv.create(STORE)
        model.collect_params().reset_ctx(self.contexts)
        super().__init__(cell, model, batches)
        self.replicas = replicas(cell)
        placed = [next(self.batches) for _ in batches.train]
        self.shared = itertools.cycle([self._share(*inputs, label) for inputs, label in placed])
        self.samples = cell.batch * cell.world_size
        self.losses: list[NDArray] = []

    def _share(self, *arrays: NDArray) -> list[list[NDArray]]:
        """Each context's part of a batch, on it."""
        return [gluon.utils.split_and_load(one, self.contexts) for one in arrays]

    def train_step(self) -> None:
        parts = next(self.shared)
        with autograd.record():
            logits = [self.model(*part) for *part, _ in zip(*parts)]
            losses = [self.criterion(one, y) for one, y in zip(logits, parts[-1])]
            with self.scaled(losses) as scaled:
                autograd.backward(scaled)
        self.trainer.step(self.samples)
        self.computed = [dtype_name(one) for one in logits]
        self.losses = losses

    def loss(self) -> float:
        assert self.losses, "train_step comes first"
        return float(sum(one.sum().asscalar() for one in self.losses)) / self.samples

    def facts(self) -> Settings:
        facts = super().facts()
        if facts:
            facts["parallel"] = f"Trainer on {len(self.contexts)} contexts"
            facts["communication"] = f"kvstore {self.store.type}"
        return facts
