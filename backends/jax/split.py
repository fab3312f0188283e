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


class Split:
    """A model without its arrays, and how to put it together again.

    Parameters come apart from what else a model keeps: running statistics, random keys.
    """

    def __init__(self, model: nnx.Module) -> None:
        self.graph, *states = nnx.split(model, nnx.Param, ...)
        self.param_tree, self.rest_tree = map(jax.tree.structure, states)

    def merge(self, params: Arrays, rest: Arrays) -> Any:
        """The model over these arrays. A copy, because a trace may not write to variables
        that were made outside it.
        """
        states = (self.param_tree.unflatten(params), self.rest_tree.unflatten(rest))
        return nnx.merge(self.graph, *states, copy=True)

    def evaluate(self, params: Arrays, rest: Arrays, inputs: Inputs) -> Array:
        """The logits in evaluation mode."""
        model = self.merge(params, rest)
        model.eval()
        return model(*inputs)

    def train(
        self, params: Arrays, rest: Arrays, inputs: Inputs, label: Array
    ) -> tuple[Array, Arrays]:
        """The mean loss in training mode, in float32, and what else the model has changed."""
        model = self.merge(params, rest)
        model.train()
        logits = model(*inputs).astype(jnp.float32)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()
        return loss, arrays(model)[1]


def arrays(model: nnx.Module) -> tuple[Arrays, Arrays]:
    """The parameters, and what else the model keeps, in the order of ``Split``."""
    _, params, rest = nnx.split(model, nnx.Param, ...)
    return jax.tree.leaves(params), jax.tree.leaves(rest)
