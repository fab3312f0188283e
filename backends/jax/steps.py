"""The whole training step as one function of arrays; it is compiled at its first call."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax.training.dynamic_scale import DynamicScale
from jax import Array

from backends.jax.split import Arrays, Inputs, Split

Trained = tuple[Arrays, Arrays, Any, Array]
"""Trained parameters, what else the model keeps, moments, and the mean loss before the update."""


def make_step(split: Split, update: optax.GradientTransformation, *, types: set[Any]) -> Any:
    """types: of the gradients, noted while the step is traced."""

    def step(
        params: Arrays, kept: Arrays, rest: Arrays, moments: Any, inputs: Inputs, label: Array
    ) -> Trained:
        gradient = jax.value_and_grad(split.train, has_aux=True)
        (loss, rest), grads = gradient(params, kept, rest, inputs, label)
        types.update(grad.dtype for grad in grads)
        updates, moments = update.update(grads, moments, params)
        return optax.apply_updates(params, updates), rest, moments, loss

    return step


def first_scale() -> DynamicScale:
    """Flax's defaults, as arrays of one type for good: another would be compiled for anew."""
    return DynamicScale(fin_steps=jnp.int32(0), scale=jnp.float32(DynamicScale().scale))


def make_scaled_step(split: Split, update: optax.GradientTransformation, *, types: set[Any]) -> Any:
    """With the loss scaled as in flax's ImageNet example; the scale lies beside the moments.

    Where a gradient is not finite nothing is updated, and the scale is halved.
    """

    def step(
        params: Arrays, kept: Arrays, rest: Arrays, state: Any, inputs: Inputs, label: Array
    ) -> Trained:
        moments, scale = state
        gradient = scale.value_and_grad(split.train, has_aux=True)
        scale, finite, (loss, rest), grads = gradient(params, kept, rest, inputs, label)
        types.update(grad.dtype for grad in grads)
        updates, moved = update.update(grads, moments, params)
        new = (optax.apply_updates(params, updates), moved)
        params, moments = jax.tree.map(
            lambda ours, theirs: jnp.where(finite, ours, theirs), new, (params, moments)
        )
        return params, rest, (moments, scale), loss

    return step
