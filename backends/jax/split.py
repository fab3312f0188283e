"""A flax model apart from its arrays, which is what a jitted function takes.

As flax's performance guide says: split once, the arrays passed to a function that merges them
while it is traced, so that a step walks no Python objects.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

Arrays = list[Array]
Inputs = tuple[Array, ...]
State = tuple[Arrays, Arrays, Arrays]
"""Parameters that are trained, frozen ones, and what else a model keeps: running statistics."""


class Split:
    """A model without its arrays, and how to put it together again."""

    def __init__(self, model: nnx.Module) -> None:
        self.graph, *states = nnx.split(model, *groups(model))
        self.trees = [jax.tree.structure(state) for state in states]

    def merge(self, *state: Arrays) -> Any:
        """The model over these arrays. A copy, because a trace may not write to variables
        that were made outside it.
        """
        states = [tree.unflatten(arrays) for tree, arrays in zip(self.trees, state)]
        return nnx.merge(self.graph, *states, copy=True)

    def evaluate(self, state: State, inputs: Inputs) -> Array:
        """The logits in evaluation mode."""
        model = self.merge(*state)
        model.eval()
        return model(*inputs)

    def train(
        self, params: Arrays, kept: Arrays, rest: Arrays, inputs: Inputs, label: Array
    ) -> tuple[Array, Arrays]:
        """The mean loss in training mode, in float32, and what else the model has changed."""
        model = self.merge(params, kept, rest)
        model.train()
        logits = model(*inputs).astype(jnp.float32)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()
        return loss, arrays(model)[2]


def groups(model: nnx.Module) -> tuple[Any, ...]:
    """Flax's filters for the parts of a ``State``; what the first one takes the next do not see.

    A model with low-rank adapters trains these alone.
    """
    adapted = jax.tree.leaves(nnx.state(model, nnx.LoRAParam))
    return nnx.LoRAParam if adapted else nnx.Param, nnx.Param, ...


def arrays(model: nnx.Module) -> State:
    """The model's arrays, in the order of ``Split``."""
    _, *states = nnx.split(model, *groups(model))
    params, kept, rest = map(jax.tree.leaves, states)
    return params, kept, rest
