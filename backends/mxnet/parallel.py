"""Two contexts in one process, as in Gluon's tutorial "Use GPUs": each batch is split over them.

The Trainer's kvstore adds the gradients up, updates, and gives every context the new parameters.
"""

from __future__ import annotations

import mxnet as mx
from mxnet import autograd, gluon
from mxnet.gluon import HybridBlock

from backends.mxnet.programs import Training
from bench.contract import Batches, Cell, Settings


class Parallel(Training):
    """What infers uses the first context."""

    def __init__(self, cell: Cell, model: HybridBlock, batches: Batches) -> None:
        self.contexts = [mx.cpu(index) for index in range(cell.world_size)]
        self.store = mx.kv.create("device")
        model.collect_params().reset_ctx(self.contexts)
        super().__init__(cell, model, batches)

    def train_step(self) -> None:
        inputs, label = next(self.batches)
        parts = [gluon.utils.split_and_load(one, self.contexts) for one in (*inputs, label)]
        with autograd.record():
            losses = [self.criterion(self.model(*part), y) for *part, y in zip(*parts)]
        autograd.backward(losses)
        self.trainer.step(len(label))
        self.last_loss = mx.nd.concat(*(one.as_in_context(mx.cpu()) for one in losses), dim=0)

    def facts(self) -> Settings:
        facts = super().facts()
        if facts:
            facts["parallel"] = f"Trainer on {len(self.contexts)} contexts"
            facts["communication"] = f"kvstore {self.store.type}"
        return facts
