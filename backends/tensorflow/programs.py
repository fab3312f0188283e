"""TensorFlow's built models: what is enqueued, and how to wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from backends import fed
from backends.keras import attention, recompute
from backends.keras import models as keras_models
from backends.keras import optimizers as keras_optimizers
from backends.keras.inside import layers_of, layout
from backends.keras.parts import frozen
from backends.tensorflow import feeds
from bench.contract import INPUTS, Batch, Batches, Cell, Kernel, Program, Settings

DTYPES = {"fp32": tf.float32, "tf32": tf.float32, "bf16": tf.bfloat16, "fp16": tf.float16}

Tensors = list[tf.Tensor]


def compiled(cell: Cell, function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` in the cell's mode: as it is, as a graph, or as a graph compiled by XLA."""
    if cell.mode == "eager":
        return function
    return tf.function(function, jit_compile=True if cell.mode == "compiled" else None)


def place(cell: Cell, batch: Batch) -> Tensors:
    """The model's inputs as tensors: images channels last, ids and mask int32."""
    if cell.model == "cnn":
        return [tf.constant(np.ascontiguousarray(batch["image"].transpose(0, 2, 3, 1)))]
    return [tf.constant(batch[name], tf.int32) for name in INPUTS[cell.model]]


class Inference(Program):
    """Forward passes over batches that lie on the device already.

    forward: takes the list of inputs, in evaluation mode.
    """

    def __init__(
        self, cell: Cell, model: Any, batches: Batches, *, forward: Callable[[Tensors], Any]
    ) -> None:
        self.cell = cell
        self.model = model
        self.forward = forward
        self.n_params = keras_models.count(model)
        self.inputs = [place(cell, batch) for batch in batches.infer]
        self.output: tf.Tensor | None = None

    def infer(self, index: int) -> None:
        self.output = self.forward(self.inputs[index])

    def logits(self) -> np.ndarray:
        assert self.output is not None, "infer comes first"
        return tf.cast(self.output, tf.float32).numpy()

    def frozen(self) -> Iterator[np.ndarray]:
        for variable in frozen(layers_of(self.model)):
            yield tf.convert_to_tensor(variable.value).numpy()

    def wait(self) -> None:
        tf.test.experimental.sync_devices()

    def close(self) -> None:
        self.__dict__.clear()
        keras_models.forget()

    def facts(self) -> Settings:
        """What holds for this program, read from its objects; nothing once it is closed."""
        return {**graph_facts(self.forward), **layout(self.model)} if self.__dict__ else {}


class Training(Inference):
    """The loop of Keras's guide for TensorFlow, one step at a time.

    ``infer`` runs the model eagerly: a graph of its own would be traced only for the gate.
    """

    pools = True  # of a step of the small decoder 6 MiB showed; five others hold 570 MiB and more

    def __init__(self, cell: Cell, model: keras.Model, batches: Batches) -> None:
        super().__init__(cell, model, batches, forward=lambda inputs: model(inputs, training=False))
        self.batches = feeds.endless(
            cell, batches, lambda batch: (place(cell, batch), tf.constant(batch["label"]))
        )
        self.optimizer = keras_optimizers.make(cell.optimizer)
        if cell.precision == "fp16":
            self.optimizer = keras.optimizers.LossScaleOptimizer(self.optimizer)
        self.optimizer.build(self.variables())
        self.step = compiled(cell, step(model, self.optimizer, self.variables()))
        self.last_loss: tf.Tensor | None = None

    def variables(self) -> list[Any]:
        """What the optimizer trains."""
        return list(self.model.trainable_variables)

    def train_step(self) -> None:
        self.last_loss = self.step(*next(self.batches))

    def loss(self) -> float:
        assert self.last_loss is not None, "train_step comes first"
        return float(self.last_loss)

    def optimizer_bytes(self) -> int | None:
        alone = self.cell.world_size == 1  # else they may be in parts
        return keras_optimizers.optimizer_bytes(self.optimizer) if alone else None

    def device_bytes(self) -> int | None:
        return device_bytes(self.cell, "current")

    def facts(self) -> Settings:
        if not self.__dict__:
            return {}
        facts = {**graph_facts(self.step), **layout(self.model)}
        facts.update(attention.facts(self.cell, self.model))
        facts["optimizer"] = type(self.optimizer).__name__
        facts.update(fed.facts(self.batches))
        facts.update(recompute.facts(self.model, self.inputs[0]))
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            facts["optimizer"] += f" of {type(self.optimizer.inner_optimizer).__name__}"
            # On several devices it is a variable of each, which float() does not know.
            scale = self.optimizer.dynamic_scale.value
            facts["loss_scale"] = float(tf.convert_to_tensor(scale))
        return {**facts, **keras_optimizers.dtypes(self.model, self.optimizer, divided=False)}


def step(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, variables: list[Any]
) -> Callable[..., tf.Tensor]:
    """One optimizer step on inputs and label; returns the mean loss before it."""
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def train(inputs: Tensors, label: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            watch(tape, variables)
            loss = cross_entropy(label, model(inputs, training=True))
            scaled = optimizer.scale_loss(loss)
        optimizer.apply_gradients(zip(tape.gradient(scaled, variables), variables))
        return loss

    return train


def watch(tape: tf.GradientTape, variables: list[Any]) -> None:
    """These alone: of whatever else is read, as frozen weights are, a tape would compute gradients,
    which only a graph drops again.
    """
    for one in variables:
        tape.watch(one.value if isinstance(one, keras.Variable) else one)


def graph_facts(function: Callable[..., Any]) -> Settings:
    """How a callable runs; TensorFlow tells whether XLA compiles a function by no public name."""
    graph = isinstance(function, tf.types.experimental.PolymorphicFunction)
    return {"graph": graph, "xla": graph and bool(vars(function)["_jit_compile"])}


def device_bytes(cell: Cell, which: str) -> int | None:
    """Of the device that needed most, "peak" or "current"; None on a CPU."""
    if cell.device == "cpu":
        return None
    names = (f"GPU:{index}" for index in range(cell.world_size))
    return max(int(tf.config.experimental.get_memory_info(name)[which]) for name in names)


def matmul(precision: str, n: int) -> Kernel:
    """An n x n x n matrix product in one precision."""
    random = np.random.default_rng(0).random((2, n, n), dtype=np.float32)
    left, right = (tf.cast(one, DTYPES[precision]) for one in random)
    return Kernel(lambda: tf.matmul(left, right), _synchronize)


def stream(n: int) -> Kernel:
    """Adds 1 to n float32 numbers."""
    source = tf.ones(n)
    return Kernel(lambda: source + 1.0, _synchronize)


def _synchronize(_result: tf.Tensor) -> None:
    tf.test.experimental.sync_devices()
