"""What Keras's networks have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
from keras import layers

Tensor = Any  # a KerasTensor while a model is described


def classify(x: Tensor, classes: int, name: str) -> Tensor:
    return logits(layers.Dense(classes, name=name)(x))


def logits(x: Tensor) -> Tensor:
    """In float32 whatever the policy, as Keras's guide to mixed precision has it."""
    return layers.Activation("linear", dtype="float32", name="logits")(x)


def frozen(found: Iterable[layers.Layer]) -> list[keras.Variable]:
    """The weights in these layers that training must not change; BatchNorm's figures are none."""
    fixed = (one for one in found if not isinstance(one, layers.BatchNormalization))
    return [variable for layer in fixed for variable in layer.non_trainable_weights]
