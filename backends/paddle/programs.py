"""Paddle's built models: dynamic layers, their training loop, and a matrix product."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.jit.dy2static.program_translator import StaticFunction
from paddle.nn import functional as F

from backends import answers, fed
from backends.paddle import attention, feeds, models, recompute
from backends.paddle.devices import DTYPES, autocast, synchronize, tf32
from bench.contract import INPUTS, Batch, Batches, Cell, Kernel, Optimizer, Program, Settings

MOMENTS = re.compile("moment|velocity")
"""In the names of an optimizer's state."""


def place(cell: Cell, batch: Batch) -> list[Tensor]:
    """The model's inputs as tensors; a copy, made once."""
    return [paddle.to_tensor(np.ascontiguousarray(batch[name])) for name in INPUTS[cell.model]]


def sample(cell: Cell, batch: Batch) -> tuple[list[Tensor], Tensor]:
    """With the label."""
    return place(cell, batch), paddle.to_tensor(np.ascontiguousarray(batch["label"]))


def trainable(model: nn.Layer) -> int:
    """Elements of the trained parameters."""
    return sum(int(value.size) for value in models.trained(model))


class Inference(Program):
    """Forward passes of ``model``, in evaluation mode.

    forward: what is called, ``model`` itself or its static form.
    """

    def __init__(
        self, cell: Cell, model: nn.Layer, batches: Batches, *, forward: Callable[..., Tensor]
    ) -> None:
        self.cell = cell
        self.model = model
        self.forward = forward
        self.n_params = trainable(model)
        self.inputs = [place(cell, batch) for batch in batches.infer]
        self.output: Tensor | None = None

    def infer(self, index: int) -> None:
        with paddle.no_grad(), autocast(self.cell):
            self.output = self.forward(*self.inputs[index])

    def logits(self) -> np.ndarray:
        assert self.output is not None, "infer comes first"
        return self.output.astype("float32").numpy()

    def frozen(self) -> Iterator[np.ndarray]:
        for parameter in models.kept(self.model):
            yield parameter.numpy()

    def wait(self) -> None:
        synchronize(self.cell)

    def close(self) -> None:
        gpu = self.cell.device != "cpu"
        self.__dict__.clear()
        gc.collect()
        if gpu:
            paddle.device.cuda.empty_cache()

    def facts(self) -> Settings:
        """What holds for this program, read from its objects; nothing once it is closed."""
        if not self.__dict__:
            return {}
        compiled = isinstance(self.forward, StaticFunction)
        facts: Settings = {"compiled": compiled}
        if compiled:
            facts["cinn"] = paddle.is_compiled_with_cinn()
        return facts


class Training(Inference):
    """The documented training loop, one step at a time; ``infer`` uses the plain layer.

    A second graph would otherwise be built for the evaluation mode, only for the gate.
    """

    def __init__(
        self, cell: Cell, model: nn.Layer, batches: Batches, *, forward: Callable[..., Tensor]
    ) -> None:
        super().__init__(cell, model, batches, forward=forward)
        self.batches = feeds.endless(cell, batches, partial(sample, cell))
        self.optimizer = optimizer(cell.optimizer, model)
        self.scaler = paddle.amp.GradScaler() if cell.precision == "fp16" else None
        self.last_loss: Tensor | None = None
        self.computed: list[Any] = []

    def train_step(self) -> None:
        if not self.model.training:
            self.model.train()
        inputs, label = next(self.batches)
        with autocast(self.cell):
            logits = self.forward(*inputs)
            loss = F.cross_entropy(logits, label)
        if self.scaler is None:
            loss.backward()
            self.optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.clear_grad()
        self.last_loss = loss.detach()
        self.computed = [logits.dtype]

    def loss(self) -> float:
        assert self.last_loss is not None, "train_step comes first"
        return float(self.last_loss)

    def infer(self, index: int) -> None:
        if self.model.training:
            self.model.eval()
        with paddle.no_grad(), autocast(self.cell):
            self.output = self.model(*self.inputs[index])

    def facts(self) -> Settings:
        facts = super().facts()
        if not facts:
            return facts
        facts["optimizer"] = type(self.optimizer).__name__
        facts.update(attention.facts(self.cell))
        if self.scaler is not None and (state := self.scaler.state_dict()):
            facts["loss_scale"] = float(state["scale"].item())
        facts.update(recompute.facts(self.model))
        facts.update(fed.facts(self.batches))
        return {**facts, **self.dtypes()}

    def dtypes(self) -> Settings:
        parameters = models.trained(self.model)
        return answers.dtypes(
            parameters=(one.dtype for one in parameters),
            compute=self.computed,
            reduce=(one.grad.dtype for one in parameters if one.grad is not None),
            optimizer=(one.dtype for one in self.moments()),
        )

    def moments(self) -> list[Tensor]:
        """Beside them there are powers of the betas, and perhaps a rate."""
        state = self.optimizer.state_dict().items()
        return [one for name, one in state if MOMENTS.search(name)]

    def device_bytes(self) -> int | None:
        return None if self.cell.device == "cpu" else int(paddle.device.cuda.memory_allocated())

    def optimizer_bytes(self) -> int | None:
        return sum(one.size * one.element_size() for one in self.moments()) or None


def optimizer(asked: Optimizer, model: nn.Layer) -> paddle.optimizer.Optimizer:
    """Paddle's own optimizer; a plain number as Momentum's ``weight_decay`` is L2's."""
    common: dict[str, Any] = {
        "learning_rate": asked.lr,
        "parameters": models.trained(model),
        "weight_decay": asked.weight_decay,
    }
    if asked.name == "sgd":
        return paddle.optimizer.Momentum(momentum=asked.momentum, **common)
    betas = {"beta1": asked.beta1, "beta2": asked.beta2}
    return paddle.optimizer.AdamW(epsilon=asked.eps, **betas, **common)


def matmul(cell: Cell, n: int) -> Kernel:
    """An n x n x n matrix product in the cell's precision."""
    dtype = DTYPES.get(cell.precision, "float32")
    left, right = (paddle.rand([n, n]).astype(dtype) for _ in range(2))

    @paddle.no_grad()
    def product() -> Tensor:
        with tf32(cell):
            return paddle.matmul(left, right)

    return Kernel(product, lambda _: synchronize(cell))


def stream(cell: Cell, n: int) -> Kernel:
    """Adds 1 to n float32 numbers."""
    source = paddle.ones([n])
    return Kernel(paddle.no_grad()(lambda: source + 1.0), lambda _: synchronize(cell))
