"""MindSpore's built models: what is enqueued, and how to wait for it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn
from mindspore.experimental import optim

from backends import answers, fed
from backends.attention import COMPOSED
from backends.mindspore import feeds, models, precision, recompute
from backends.mindspore.steps import step
from bench.contract import INPUTS, Batch, Batches, Cell, Optimizer, Program, Settings


def place(cell: Cell, batch: Batch) -> tuple[Tensor, ...]:
    """The model's inputs; a copy, because the batches are read-only views."""
    return tuple(Tensor(np.array(batch[name])) for name in INPUTS[cell.model])


def label_of(batch: Batch) -> Tensor:
    return Tensor(batch["label"].astype(np.int32))


class Inference(Program):
    """Forward passes of ``model`` over batches that are tensors already.

    Compiled: the whole call under ``ms.jit``, one graph for each shape.
    """

    def __init__(self, cell: Cell, model: nn.Cell, batches: Batches) -> None:
        self.cell = cell
        self.model = model
        self.n_params = sum(parameter.size for parameter in model.trainable_params())
        self.inputs = [place(cell, batch) for batch in batches.infer]
        # A graph read from a file is compiled as it is; within another it fails at a second shape.
        graph = isinstance(model, nn.GraphCell)
        self.compiled = graph or cell.mode == "compiled"
        self.forward = forward(model, compiled=self.compiled and not (cell.trains or graph))
        self.output: Tensor | None = None

    def infer(self, index: int) -> None:
        if self.model.training:
            self.model.set_train(False)
        self.output = self.forward(*self.inputs[index])

    def logits(self) -> np.ndarray:
        assert self.output is not None, "infer comes first"
        logits: np.ndarray = self.output.asnumpy()
        return logits.astype(np.float32)

    def frozen(self) -> Iterator[np.ndarray]:
        for parameter in models.kept(self.model):
            yield parameter.asnumpy()

    def wait(self) -> None:
        precision.synchronize(self.cell, self.output)

    def close(self) -> None:
        self.__dict__.clear()
        gc.collect()
        ms.runtime.empty_cache()

    def facts(self) -> Settings:
        """What holds for this program; nothing once it is closed."""
        return {"compiled": self.compiled} if self.__dict__ else {}


def forward(model: nn.Cell, *, compiled: bool) -> Callable[..., Tensor]:
    def run(*inputs: Tensor) -> Tensor:
        return model(*inputs)

    return ms.jit(run) if compiled else run


class Training(Inference):
    """The quickstart's loop: value_and_grad and an optimizer, compiled as one step or not.

    ``infer`` calls the plain cell: the evaluation mode is only for the gate.
    """

    pools = True  # its memory manager's: nothing of a step showed

    def __init__(self, cell: Cell, model: nn.Cell, batches: Batches) -> None:
        super().__init__(cell, model, batches)
        self.batches = feeds.endless(
            cell, batches, lambda batch: (place(cell, batch), label_of(batch))
        )
        self.optimizer = optimizer(cell.optimizer, model)
        self.scaler = precision.scaler(cell)
        self.step = step(model, self.optimizer, compiled=self.compiled, scaler=self.scaler)
        self.last_loss: Tensor | None = None
        self.gradient: Tensor | None = None

    def train_step(self) -> None:
        if not self.model.training:
            self.model.set_train()
        inputs, label = next(self.batches)
        self.last_loss, self.gradient = self.step(label, *inputs)

    def loss(self) -> float:
        assert self.last_loss is not None, "train_step comes first"
        return float(self.last_loss.asnumpy())

    def wait(self) -> None:
        super().wait()
        if self.last_loss is not None and self.cell.device == "cpu":
            self.last_loss.asnumpy()
            # The loss is there before the update, which is enqueued last.
            self.optimizer.parameters[-1].asnumpy()

    def device_bytes(self) -> int | None:
        return None if self.cell.device == "cpu" else int(ms.runtime.memory_allocated())

    def optimizer_bytes(self) -> int | None:
        return sum(one.nbytes for one in precision.moments(self.optimizer))

    def facts(self) -> Settings:
        facts = super().facts()
        if not facts:
            return facts
        facts["optimizer"] = type(self.optimizer).__name__
        if self.cell.model != "cnn":
            facts["attention"] = COMPOSED  # by the model itself: the fused operator is Ascend's
        if self.scaler is not None:
            facts["loss_scale"] = float(self.scaler.scale_value.asnumpy())
        facts.update(recompute.facts(self.model))
        facts.update(fed.facts(self.batches))
        if self.gradient is None:  # no step yet
            return facts
        return {
            **facts,
            **answers.dtypes(
                parameters=(one.dtype for one in self.optimizer.parameters),
                compute=[precision.computed(self.model, self.inputs[0])],
                reduce=[self.gradient.dtype],
                optimizer=(one.dtype for one in precision.moments(self.optimizer)),
            ),
        }


def optimizer(asked: Optimizer, model: nn.Cell) -> nn.Cell:
    weights = model.trainable_params()
    if asked.name == "sgd":
        # A group of its own, because a decay given beside the weights skips every gamma and beta.
        group = {"params": weights, "weight_decay": asked.weight_decay}
        return nn.Momentum([group], learning_rate=asked.lr, momentum=asked.momentum)
    # nn.AdamWeightDecay has no bias correction, and mint.optim.AdamW is for Ascend only.
    return optim.AdamW(
        weights,
        lr=asked.lr,
        betas=(asked.beta1, asked.beta2),
        eps=asked.eps,
        weight_decay=asked.weight_decay,
    )
