"""What Keras's networks have in common."""

from __future__ import annotations

from typing import Any

from keras import layers

Tensor = Any  # a KerasTensor while a model is described


def classify(x: Tensor, classes: int, name: str) -> Tensor:
    return logits(layers.Dense(classes, name=name)(x))


def logits(x: Tensor) -> Tensor:
    """In float32 whatever the policy, as Keras's guide to mixed precision has it."""
    return layers.Activation("linear", dtype="float32", name="logits")(x)
