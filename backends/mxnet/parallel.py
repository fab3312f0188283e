"""Two contexts in one process, as in Gluon's tutorial "Use GPUs": each batch is split over them.

The Trainer's kvstore adds the gradients up, updates, and gives every context the new parameters.
"""

from __future__ import annotations

import mxnet as mx
from mxnet import autograd, gluon
from mxnet.gluon import HybridBlock

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

    def train_step(self) -> None:
        inputs, label = next(self.batches)
        parts = [gluon.utils.split_and_load(one, self.contexts) for one in (*inputs, label)]
        with autograd.record():
            logits = [self.model(*part) for *part, _ in zip(*parts)]
            losses = [self.criterion(one, y) for one, y in zip(logits, parts[-1])]
            with self.scaled(losses) as scaled:
                autograd.backward(scaled)
        self.trainer.step(len(label))
        self.computed = [dtype_name(one) for one in logits]
        self.last_loss = mx.nd.concat(*(one.as_in_context(mx.cpu()) for one in losses), dim=0)

    def facts(self) -> Settings:
        facts = super().facts()
        if facts:
            facts["parallel"] = f"Trainer on {len(self.contexts)} contexts"
            facts["communication"] = f"kvstore {self.store.type}"
        return facts
