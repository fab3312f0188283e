"""Activation checkpointing: a block keeps its inputs only and runs again in the backward pass.

By ``keras.remat`` in a layer's call, as its documentation has it: each layer of the encoder, each
residual block of the CNN, whatever the engine. What is run again is the block's ``stateless_call``:
BatchNorm's running statistics come out of it and are assigned once, and no engine has to find
variables in it. The setting ``recompute=on``. TensorFlow's own loop has the same layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from backends.keras.parts import frozen
from bench.contract import Cell, Settings

Tensor = Any
Block = Callable[..., Tensor]
"""Describes a part of a functional model: symbolic tensors -> one."""
Around = Callable[[Block], Block]
PRIMITIVE = "remat2"  # jax's, in a trace


@keras.saving.register_keras_serializable()
class Recomputed(keras.layers.Layer):
    """A block as a layer of its own. again: it has run again in a backward pass."""

    def __init__(self, block: keras.Model, **options: Any) -> None:
        # With autocast the weights would be rounded on their way into the block.
        super().__init__(autocast=False, **options)
        self.block = block
        self.again = False

    def call(self, x: Tensor, *masks: Tensor, training: bool = False) -> Tensor:
        """masks: not among what is run with, for TensorFlow looks for gradients of all of that."""
        if not training:
            return self.block((x, *masks))
        passes = iter((False,))
        state = self.block.non_trainable_variables
        # Nor frozen weights: they would get gradients in eager mode, and be assigned anew.
        fixed = {id(one): keras.ops.stop_gradient(one.value) for one in frozen(self.block.layers)}
        moving = [one for one in state if id(one) not in fixed]

        def run(trained: list[Tensor], moved: list[Tensor], x: Tensor) -> Any:
            self.again = next(passes, True)
            values = fixed | {id(one): value for one, value in zip(moving, moved)}
            kept = [values[id(one)] for one in state]
            made, after = self.block.stateless_call(trained, kept, (x, *masks), training=True)
            return made, [value for one, value in zip(state, after) if id(one) not in fixed]

        trained = [one.value for one in self.block.trainable_variables]
        output, updated = keras.remat(run)(trained, [one.value for one in moving], x)
        for variable, value in zip(moving, updated):
            variable.assign(value)
        return output

    def get_config(self) -> dict[str, Any]:
        """For a checkpoint, which holds the whole model."""
        return {**super().get_config(), "block": keras.saving.serialize_keras_object(self.block)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Recomputed:
        return cls(**{**config, "block": keras.saving.deserialize_keras_object(config["block"])})

    def compute_output_spec(self, *inputs: Tensor, training: bool = False) -> keras.KerasTensor:
        made = self.block.outputs[0]
        return keras.KerasTensor(made.shape, made.dtype)


def around(cell: Cell) -> Around:
    """What to put around each block of a model."""
    if not cell.trains or cell.settings.get("recompute") != "on":
        return plain
    # torch ends a second pass by an exception. Keras's filter keeps its frames, and with them all
    # activations, until garbage is collected.
    keras.config.disable_traceback_filtering()
    return wrapped


def plain(block: Block) -> Block:
    return block


def wrapped(block: Block) -> Block:
    def described(*tensors: Tensor) -> Tensor:
        inputs = [keras.Input(batch_shape=one.shape, dtype=one.dtype) for one in tensors]
        return Recomputed(keras.Model(inputs, block(*inputs)))(*tensors)

    return described


def facts(model: keras.Model, inputs: Tensor) -> Settings:
    """How many blocks are recomputed: on jax those in a trace, else those that have run again."""
    blocks = [one for one in model.layers if isinstance(one, Recomputed)]
    if blocks and keras.backend.backend() == "jax":
        count = traced(model, inputs)
    else:
        count = sum(one.again for one in blocks)
    return {"recompute": count} if count else {}


def traced(model: keras.Model, inputs: Tensor) -> int:
    """Of the shapes only: during fit the values are with fit."""
    import jax  # noqa: PLC0415  # other engines lack it

    state = [
        [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in part]
        for part in (model.trainable_variables, model.non_trainable_variables)
    ]

    def forward(*state: Any) -> Any:
        return model.stateless_call(*state, inputs, training=True)

    equations = jax.make_jaxpr(forward)(*state).jaxpr.eqns
    return sum(one.primitive.name == PRIMITIVE for one in equations)
