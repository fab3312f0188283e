"""Every variable and its moments in parts, each part on a device of its own: parameter servers.

As in TensorFlow's tutorial "Parameter server training", its sections "In-process cluster" and
"Variable sharding". One worker takes the whole batch: several would not wait for each other.
Its other ways lead nowhere with Keras 3: DTensor's layouts were Keras 2's, and
``keras.distribution`` leaves TensorFlow's variables whole.
"""

from __future__ import annotations

import socket
from functools import cache
from typing import Any

import keras
import tensorflow as tf

from backends.keras import models as keras_models
from backends.tensorflow.programs import Training, compiled, step
from bench.contract import Batches, Cell, Settings, Weights

PROTOCOL = "grpc"


def build(cell: Cell, weights: Weights, batches: Batches) -> Sharded:
    strategy = served(cell.world_size)
    with strategy.scope():
        model = keras_models.make(cell.dims)
        keras_models.load_weights(model, weights)
        return Sharded(cell, model, batches, strategy=strategy)


@cache
def served(servers: int) -> tf.distribute.ParameterServerStrategy:
    """The variables in as many parts as there are devices, along their first dimension.

    One for the process: a second cluster would end the first.
    """
    parts = tf.distribute.experimental.partitioners.FixedShardsPartitioner(servers)
    return tf.distribute.ParameterServerStrategy(cluster(servers), variable_partitioner=parts)


def cluster(servers: int) -> tf.distribute.cluster_resolver.ClusterResolver:
    """A worker and the parameter servers, in threads of this process."""
    jobs = {"worker": 1, "ps": servers}
    spec = tf.train.ClusterSpec({name: addresses(count) for name, count in jobs.items()})
    config = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=2)  # with one they would wait
    for name, count in jobs.items():
        for index in range(count):
            tf.distribute.Server(
                spec, job_name=name, task_index=index, config=config, protocol=PROTOCOL
            )
    return tf.distribute.cluster_resolver.SimpleClusterResolver(spec, rpc_layer=PROTOCOL)


def addresses(count: int) -> list[str]:
    """Ports that were free a moment ago; a server cannot be told to choose its own."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    found = [f"localhost:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return found


def parts_of(variable: keras.Variable) -> list[tf.Variable]:
    """What is too small for as many parts, along its first dimension, is in one."""
    return list(getattr(variable.value, "variables", [variable.value]))


class Sharded(Training):
    """A coordinator that has its worker do the steps."""

    def __init__(
        self, cell: Cell, model: keras.Model, batches: Batches, *, strategy: tf.distribute.Strategy
    ) -> None:
        super().__init__(cell, model, batches)
        self.strategy = strategy
        self.coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
        train = step(model, self.optimizer, self.variables())
        self.step = compiled(cell, lambda data: strategy.run(train, args=next(data)))
        placed = [next(self.batches) for _ in batches.train]
        stacked = tf.nest.map_structure(
            lambda *tensors: tf.stack(tensors),
            *((tuple(inputs), label) for inputs, label in placed),
        )
        self.data = iter(
            self.coordinator.create_per_worker_dataset(
                lambda: tf.data.Dataset.from_tensor_slices(stacked).repeat()
            )
        )
        self.last_loss: Any = None

    def variables(self) -> list[tf.Variable]:
        """The parts. Keras takes a variable for one whole, and has no gradient for such a one."""
        return [part for one in self.model.trainable_variables for part in parts_of(one)]

    def train_step(self) -> None:
        self.last_loss = self.coordinator.schedule(self.step, args=(self.data,))

    def loss(self) -> float:
        assert self.last_loss is not None, "train_step comes first"
        return float(self.last_loss.fetch())

    def wait(self) -> None:
        self.coordinator.join()
        super().wait()

    def facts(self) -> Settings:
        facts = super().facts()
        if facts:
            devices = {part.device for part in self.variables()}
            facts["parallel"] = f"{type(self.strategy).__name__} of {len(devices)} devices"
            facts["communication"] = PROTOCOL
            variables = self.model.trainable_variables
            facts["sharded"] = sum(len(parts_of(one)) > 1 for one in variables)
        return facts
