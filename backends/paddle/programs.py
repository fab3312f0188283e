"""Paddle's built models: dynamic layers, their training loop, and a matrix product."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.jit.dy2static.program_translator import StaticFunction
from paddle.nn import functional as F

from bench.contract import INPUTS, Batch, Batches, Cell, Kernel, Optimizer, Program, Settings

# No program has a ``wait``: on a CPU Paddle's operators and its graphs return when they are done.


def place(cell: Cell, batch: Batch) -> list[Tensor]:
    """The model's inputs as tensors; a copy, made once."""
    return [paddle.to_tensor(np.ascontiguousarray(batch[name])) for name in INPUTS[cell.model]]


def trainable(model: nn.Layer) -> int:
    """Elements of the parameters; Paddle counts BatchNorm's running values among them."""
    return sum(int(value.size) for value in model.parameters() if not value.stop_gradient)


class Inference(Program):
    """Forward passes of ``model``, in evaluation mode.

    forward: what is called, ``model`` itself or its static form.
    """

    def __init__(
        self, cell: Cell, model: nn.Layer, batches: Batches, *, forward: Callable[..., Tensor]
    ) -> None:
        self.model = model
        self.forward = forward
        self.n_params = trainable(model)
        self.inputs = [place(cell, batch) for batch in batches.infer]
        self.output: Tensor | None = None

    def infer(self, index: int) -> None:
        with paddle.no_grad():
            self.output = self.forward(*self.inputs[index])

    def logits(self) -> np.ndarray:
        assert self.output is not None, "infer comes first"
        return self.output.numpy().astype(np.float32, copy=False)

    def close(self) -> None:
        self.__dict__.clear()
        gc.collect()

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
        placed = [
            (place(cell, batch), paddle.to_tensor(np.ascontiguousarray(batch["label"])))
            for batch in batches.train
        ]
        self.batches = itertools.cycle(placed)
        self.optimizer = optimizer(cell.optimizer, model)
        self.last_loss: Tensor | None = None

    def train_step(self) -> None:
        if not self.model.training:
            self.model.train()
        inputs, label = next(self.batches)
        loss = F.cross_entropy(self.forward(*inputs), label)
        loss.backward()
        self.optimizer.step()
        self.optimizer.clear_grad()
        self.last_loss = loss.detach()

    def loss(self) -> float:
        assert self.last_loss is not None, "train_step comes first"
        return float(self.last_loss)

    def infer(self, index: int) -> None:
        if self.model.training:
            self.model.eval()
        with paddle.no_grad():
            self.output = self.model(*self.inputs[index])

    def facts(self) -> Settings:
        facts = super().facts()
        return {**facts, "optimizer": type(self.optimizer).__name__} if facts else {}


def optimizer(asked: Optimizer, model: nn.Layer) -> paddle.optimizer.Optimizer:
    """Paddle's own optimizer; a plain number as Momentum's ``weight_decay`` is L2's."""
    common: dict[str, Any] = {
        "learning_rate": asked.lr,
        "parameters": model.parameters(),
        "weight_decay": asked.weight_decay,
    }
    if asked.name == "sgd":
        return paddle.optimizer.Momentum(momentum=asked.momentum, **common)
    betas = {"beta1": asked.beta1, "beta2": asked.beta2}
    return paddle.optimizer.AdamW(epsilon=asked.eps, **betas, **common)


def matmul(n: int) -> Kernel:
    """An n x n x n matrix product in float32."""
    left, right = paddle.rand([n, n]), paddle.rand([n, n])
    return Kernel(paddle.no_grad()(lambda: paddle.matmul(left, right)))


def stream(n: int) -> Kernel:
    """Adds 1 to n float32 numbers."""
    source = paddle.ones([n])
    return Kernel(paddle.no_grad()(lambda: source + 1.0))
