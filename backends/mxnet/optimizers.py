"""What MXNet's models are trained with: its SGD, and an AdamW that it has only the kernels of."""

from __future__ import annotations

import math
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import gluon
from mxnet.ndarray import NDArray

from bench.contract import Optimizer

AGGREGATED = {"out-of-box": 4, "tuned": 45}
"""Parameters in one update kernel: MXNet's own default, and the most that its LAMB takes."""


@mx.optimizer.register
class AdamW(mx.optimizer.Optimizer):
    """Decoupled decay over ``contrib.multi_adamw_update``, as GluonNLP's scripts compose it.

    The kernel computes ``w -= eta * (lr * m / (sqrt(v) + epsilon) + wd * w)``. PyTorch's
    ``w -= lr * (m / c1 / (sqrt(v / c2) + eps) + decay * w)`` is this with
    ``lr * sqrt(c2) / c1``, ``epsilon = eps * sqrt(c2)`` and ``wd = lr * decay``.
    """

    def __init__(self, *, beta1: float, beta2: float, epsilon: float, **options: Any) -> None:
        super().__init__(**options)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.aggregate_num = AGGREGATED["out-of-box"]  # lists of arrays are updated together

    def create_state(self, index: int, weight: NDArray) -> tuple[NDArray, NDArray]:
        return mx.nd.zeros_like(weight), mx.nd.zeros_like(weight)

    def update(
        self,
        index: list[int],
        weight: list[NDArray],
        grad: list[NDArray],
        state: list[tuple[NDArray, NDArray]],
    ) -> None:
        """One step for some of the parameters; the trainer has put 1 / batch in rescale_grad."""
        self._update_count(index)
        step = self._index_update_count[index[0]]
        root = math.sqrt(1 - self.beta2**step)
        rates, decays = self._get_lrs(index), self._get_wds(index)
        means, variances = zip(*state)
        mx.nd.contrib.multi_adamw_update(
            weight,
            grad,
            means,
            variances,
            self.rescale_grad,
            lrs=[rate * root / (1 - self.beta1**step) for rate in rates],
            wds=[rate * decay for rate, decay in zip(rates, decays)],
            etas=[1.0] * len(index),
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon * root,
            out=weight,
        )


def optimizer(asked: Optimizer, *, aggregated: int) -> mx.optimizer.Optimizer:
    """MXNet's SGD (v = m*v - lr*g is torch's at a constant rate) or the AdamW above."""
    common = {"learning_rate": asked.lr, "wd": asked.weight_decay}
    made = (
        mx.optimizer.create("sgd", momentum=asked.momentum, **common)
        if asked.name == "sgd"
        else mx.optimizer.create(
            "adamw", beta1=asked.beta1, beta2=asked.beta2, epsilon=asked.eps, **common
        )
    )
    made.aggregate_num = aggregated
    return made


def moments(trainer: gluon.Trainer) -> list[NDArray]:
    """What the updates of one context keep of each parameter; none before the first."""
    states = trainer._updaters[0].states.values()  # noqa: SLF001  no public way
    kept = (one if isinstance(one, tuple) else (one,) for one in states)
    return [array for arrays in kept for array in arrays if array is not None]


def nbytes(arrays: list[NDArray]) -> int:
    """MXNet's arrays do not say it themselves."""
    return sum(one.size * np.dtype(one.dtype).itemsize for one in arrays)
