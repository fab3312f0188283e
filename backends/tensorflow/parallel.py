"""Two devices of one process, each with a copy of the variables: MirroredStrategy.

As in TensorFlow's tutorial "Custom training with tf.distribute.Strategy": the loss of a replica is
divided by the whole batch, so that summed gradients are those of the mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import keras
import tensorflow as tf

from backends.keras import models as keras_models
from backends.keras import recompute
from backends.keras.inside import layers_of
from backends.ranks import replicas, synchronised
from backends.tensorflow import servers
from backends.tensorflow.programs import Tensors, Training, compiled, graph_facts, watch
from bench.contract import Batches, Cell, Kernel, Settings, Weights

SHARDED = "sharding"
"""The setting: variables and moments are split over the devices."""


def start(cell: Cell) -> None:
    """Let the CPU count as one device for each replica; parameter servers have one each."""
    if cell.device == "cpu" and cell.world_size > 1 and SHARDED not in cell.settings:
        (processor,) = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration()] * cell.world_size
        tf.config.set_logical_device_configuration(processor, parts)


def build(cell: Cell, weights: Weights, batches: Batches) -> Training:
    if SHARDED in cell.settings:
        return servers.build(cell, weights, batches)
    strategy = mirrored(cell)
    with strategy.scope():
        model = keras_models.make(cell.dims, around=recompute.around(cell))
        keras_models.load_weights(model, weights)
        if synchronised(cell):
            synchronise(model)
        return Parallel(cell, model, batches, strategy=strategy)


def synchronise(model: keras.Model) -> None:
    """As Keras's ``BatchNormalization(synchronized=True)``, which is asked for at each call."""
    for layer in layers_of(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


def mirrored(cell: Cell) -> tf.distribute.MirroredStrategy:
    kind = "CPU" if cell.device == "cpu" else "GPU"
    return tf.distribute.MirroredStrategy([f"{kind}:{index}" for index in range(cell.world_size)])


def allreduce(cell: Cell, n: int) -> Kernel | None:
    """Sums n float32 numbers over the replicas. Parameter servers have no such sum; and in eager
    mode, or with synchronised statistics, the sums of another strategy would be taken for those of
    the one that has trained.
    """
    if cell.world_size == 1 or SHARDED in cell.settings or cell.mode == "eager":
        return None
    if synchronised(cell):
        return None
    strategy = mirrored(cell)
    numbers = strategy.run(lambda: tf.ones(n))

    def add(part: tf.Tensor) -> tf.Tensor:
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, part)

    added = tf.function(lambda: strategy.run(add, args=(numbers,)))
    return Kernel(added, lambda _: tf.test.experimental.sync_devices())


class Parallel(Training):
    """The strategy splits no batch: each replica has had its part since the program was built."""

    def __init__(
        self, cell: Cell, model: keras.Model, batches: Batches, *, strategy: tf.distribute.Strategy
    ) -> None:
        super().__init__(cell, model, batches)
        self.strategy = strategy
        shared = [share(strategy, *next(self.batches)) for _ in batches.train]
        self.batches = itertools.cycle(shared)
        # XLA compiles for one device: what a replica computes by itself, up to its gradients.
        # A sum over replicas, such as synchronised statistics are, may not be in a nested graph.
        self.gradient = gradient(model, self.optimizer)
        if not synchronised(cell):
            self.gradient = compiled(cell, self.gradient)
        train = step(self.strategy, self.gradient, self.optimizer, model.trainable_variables)
        self.step = train if cell.mode == "eager" else tf.function(train)
        self.replicas = replicas(cell)

    def facts(self) -> Settings:
        facts = super().facts()
        if facts:
            facts["xla"] = graph_facts(self.gradient)["xla"]
            facts["parallel"] = type(self.strategy).__name__
            norms = [getattr(layer, "synchronized", False) for layer in layers_of(self.model)]
            if count := sum(norms):
                facts["batchnorm_synchronised"] = count
        return facts


def share(
    strategy: tf.distribute.Strategy, inputs: Tensors, label: tf.Tensor
) -> tf.distribute.DistributedValues:
    """Each replica's part of a batch, on its device."""

    def of_replica(context: tf.distribute.experimental.ValueContext) -> tuple[Tensors, tf.Tensor]:
        count = context.num_replicas_in_sync
        *parts, part = (
            tf.split(tensor, count)[context.replica_id_in_sync_group] for tensor in (*inputs, label)
        )
        return parts, part

    return strategy.experimental_distribute_values_from_function(of_replica)


Gradient = Callable[..., tuple[tf.Tensor, list[tf.Tensor]]]
"""(inputs, label) of a replica -> its part of the mean loss, and the gradients of that."""


def gradient(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Gradient:
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")

    def computed(inputs: Tensors, label: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            watch(tape, model.trainable_variables)
            losses = cross_entropy(label, model(inputs, training=True))
            if losses.shape.rank > 1:  # a sample's loss is the mean over its tokens
                losses = tf.reduce_mean(losses, axis=1)
            loss = tf.nn.compute_average_loss(losses)  # over the whole batch
            scaled = optimizer.scale_loss(loss)
        return loss, tape.gradient(scaled, model.trainable_variables)

    return computed


def step(
    strategy: tf.distribute.Strategy,
    computed: Gradient,
    optimizer: keras.optimizers.Optimizer,
    variables: list[keras.Variable],
) -> Callable[..., tf.Tensor]:
    """One step of all replicas; returns the mean loss of the whole batch before it."""

    def train(inputs: Tensors, label: tf.Tensor) -> tf.Tensor:
        loss, gradients = computed(inputs, label)
        optimizer.apply_gradients(zip(gradients, variables))
        return loss

    def replicated(inputs: Tensors, label: tf.Tensor) -> tf.Tensor:
        losses = strategy.run(train, args=(inputs, label))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    return replicated
