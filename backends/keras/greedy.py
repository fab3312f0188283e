"""A step of generation as the engine runs it, as in KerasHub's ``make_generate_function``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import ops

from backends.keras.engines import engine
from backends.keras.parts import Tensor

Pair = list[Tensor]
"""A layer's keys and values, [B, room, kv_heads, width of a head].

Lists everywhere: torch.compile breaks its graph at a tuple in a layer's inputs or outputs.
"""
Step = Callable[[Tensor, Tensor, list[Pair]], tuple[Tensor, Tensor, Tensor, list[Pair]]]
"""(ids [B, S], their places [S], past) -> logits [B, vocab], the next ids and places, past."""


def step_of(model: keras.Model) -> Step:
    """model: (ids, places, past) -> (logits, past), compiled in the cell's mode."""
    return STEPS[keras.backend.backend()](model, engine().tool)


def following(made: tuple[Tensor, list[Pair]], places: Tensor) -> Any:
    logits, past = made
    return logits, ops.argmax(logits, axis=-1)[:, None], places[-1:] + 1, past


def plain(model: keras.Model) -> Step:
    return lambda ids, places, past: following(model([ids, places, past]), places)


def _jax(model: keras.Model, jax: Any) -> Step:
    """Compiled, the cache is donated: XLA writes into it."""
    if model.run_eagerly:
        return plain(model)
    parts = (model.trainable_variables, model.non_trainable_variables)
    weights = [[one.value for one in part] for part in parts]

    def step(weights: list[list[Tensor]], ids: Tensor, places: Tensor, past: list[Pair]) -> Any:
        made, _ = model.stateless_call(*weights, [ids, places, past])
        return following(made, places)

    return partial(jax.jit(step, donate_argnames="past"), weights)


def _tensorflow(model: keras.Model, tensorflow: Any) -> Step:
    if model.run_eagerly:
        return plain(model)
    compiled: Step = tensorflow.function(plain(model), jit_compile=model.jit_compile)
    return compiled


def _torch(model: keras.Model, torch: Any) -> Step:
    """dynamic=False: there are two shapes, and each deserves code of its own."""
    step = plain(model)
    if model.jit_compile:
        step = torch.compile(step, dynamic=False)
    ungraded: Step = torch.no_grad()(step)
    return ungraded


STEPS: dict[str, Callable[[keras.Model, Any], Step]] = {
    "jax": _jax,
    "tensorflow": _tensorflow,
    "torch": _torch,
}
