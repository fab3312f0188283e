"""Keras's optimizers, so composed that they do what the contract says. They run on each engine."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from backends import answers
from backends.keras.inside import layers_of
from bench.contract import Optimizer, Settings


@keras.saving.register_keras_serializable()
class L2SGD(keras.optimizers.SGD):
    """SGD with L2 in the gradient. Keras's own ``weight_decay`` is decoupled from it."""

    def __init__(self, *, l2: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.l2 = l2

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> Any:
        variables = trainable_variables or self._trainable_variables
        decayed = [ops.add(g, ops.multiply(v, self.l2)) for g, v in zip(grads, variables)]
        return super().apply(decayed, trainable_variables)


@keras.saving.register_keras_serializable()
class DenseAdamW(keras.optimizers.AdamW):
    """AdamW of TensorFlow's embeddings too, whose gradients are lists of rows (IndexedSlices).

    Keras 3.15.1 squares a row that is listed twice before it adds the two, so the second moment
    of every repeated token is too small: 1 + 1 instead of (1 + 1) ** 2.
    """

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> Any:
        tensorflow = importlib.import_module("tensorflow")
        dense = [tensorflow.convert_to_tensor(gradient) for gradient in grads]
        return super().apply(dense, trainable_variables)


class Noting:
    """An optimizer's ``apply`` that notes the types of the first gradients that it is given."""

    def __init__(self, apply: Callable[..., Any]) -> None:
        self.apply = apply
        self.types: set[Any] = set()

    def __call__(self, grads: Sequence[Any], *variables: Any, **named: Any) -> Any:
        if not self.types:
            self.types = {gradient.dtype for gradient in grads}
        return self.apply(grads, *variables, **named)


def make(asked: Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer that was asked for, as ``composed``; what it is given is noted."""
    made = composed(asked)
    made.apply = Noting(made.apply)
    return made


def dtypes(model: Any, optimizer: Any, *, divided: bool) -> Settings:
    """The fact ``dtypes``; nothing before the first step.

    divided: over devices whose compiler adds the gradients up, in a type that it chooses.
    """
    used = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    types = used.apply.types if isinstance(used.apply, Noting) else set()
    if not types:
        return {}
    kinds = (keras.layers.Dense, keras.layers.Conv2D)
    products = [layer.output.dtype for layer in layers_of(model) if isinstance(layer, kinds)]
    return answers.dtypes(
        parameters=(one.dtype for one in model.trainable_variables),
        compute=products[-1:],
        reduce=() if divided else map(keras.backend.standardize_dtype, types),
        optimizer=(one.dtype for one in moments(used)),
    )


def moments(optimizer: Any) -> list[Any]:
    """Beside them there are a counter and a rate, numbers without dimensions."""
    used = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    return [one for one in used.variables if len(one.shape)]


def optimizer_bytes(optimizer: Any) -> int | None:
    """Of all devices together."""
    sizes = (math.prod(one.shape) * np.dtype(one.dtype).itemsize for one in moments(optimizer))
    return sum(sizes) or None


def composed(asked: Optimizer) -> keras.optimizers.Optimizer:
    """Keras's own, as far as it does what the contract says.

    Keras's momentum is ``v = m*v - lr*g; w += v``: PyTorch's, at a constant rate. Its Adam adds
    epsilon before the bias of the second moment is corrected, PyTorch's after; beside gradients
    of an ordinary size both vanish.
    """
    if asked.name == "adamw":
        slices = keras.backend.backend() == "tensorflow"
        return (DenseAdamW if slices else keras.optimizers.AdamW)(
            learning_rate=asked.lr,
            weight_decay=asked.weight_decay,
            beta_1=asked.beta1,
            beta_2=asked.beta2,
            epsilon=asked.eps,
            name="adamw",
        )
    common: dict[str, Any] = {"learning_rate": asked.lr, "momentum": asked.momentum}
    if asked.weight_decay:
        return L2SGD(l2=asked.weight_decay, name="sgd", **common)
    return keras.optimizers.SGD(**common)
