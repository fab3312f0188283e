"""Greedy generation with a cache of tf.Variables, which a tf.function changes in their places.

There are two shapes, so it is traced twice: for the prompts, and for one token of each.
"""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import tensorflow as tf

from backends.keras import models as keras_models
from backends.keras.decoder import attention, next_logits
from backends.tensorflow.programs import compiled, graph_facts
from bench import generation
from bench.contract import Cell, Settings, Weights
from bench.dims import DecoderDims
from bench.generation import NEW_TOKENS, Cache


class Attention(keras.layers.Layer):
    """Queries [B, S, heads, width of a head] attend to all tokens so far, whose keys and values it
    keeps, [B, room, kv_heads, width of a head].
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.keys, self.values = (
            tf.Variable(tf.zeros(shape, self.compute_dtype), trainable=False) for _ in range(2)
        )

    def call(
        self, query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, place: tf.Tensor
    ) -> tf.Tensor:
        """place: of the first query. Many are the prompts: these come first, and attend to
        themselves.
        """
        if (length := query.shape[1]) > 1:
            self.keys[:, :length].assign(key)
            self.values[:, :length].assign(value)
            return attention(query, key, value)
        # By index: XLA would compile the assignment to a slice anew for each place.
        samples = tf.range(query.shape[0])
        at = tf.stack([samples, tf.fill(samples.shape, place)], axis=1)
        self.keys.scatter_nd_update(at, key[:, 0])
        self.values.scatter_nd_update(at, value[:, 0])
        seen = tf.range(self.keys.shape[1]) <= place
        return attention(query, self.keys, self.values, mask=seen[None, None, None])

    def compute_output_spec(
        self, query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, place: tf.Tensor
    ) -> keras.KerasTensor:
        return keras.KerasTensor(query.shape, query.dtype)


def following(
    model: keras.Model, ids: tf.Tensor, places: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Ids [B, S] at places [S] -> logits of the last, and ids and places to go on with."""
    logits = model([ids, places], training=False)
    return logits, tf.argmax(logits, -1, tf.int32)[:, None], places[-1:] + 1


class Generation(generation.Generation):
    """prompts: int64 [B, P]. n_params: of the model before it was quantized."""

    def __init__(
        self, cell: Cell, model: keras.Model, prompts: np.ndarray, *, n_params: int
    ) -> None:
        self.cell = cell
        self.n_params = n_params
        self.model = model
        self.prompts = tf.constant(prompts, tf.int32)
        self.first = tf.range(prompts.shape[1])
        self.chosen, self.places = self.prompts, self.first
        self.output: tf.Tensor | None = None
        self.step = compiled(cell, partial(following, model))

    def prefill(self) -> None:
        self.chosen, self.places = self.prompts, self.first
        self.decode()

    def decode(self) -> None:
        self.output, self.chosen, self.places = self.step(self.chosen, self.places)

    def tokens(self) -> np.ndarray:
        chosen: np.ndarray = self.chosen.numpy()[:, 0]
        return chosen

    def logits(self) -> np.ndarray:
        assert self.output is not None, "prefill comes first"
        logits: np.ndarray = self.output.numpy()
        return logits

    def cache(self) -> Cache:
        kept = [one for one in self.model.layers if isinstance(one, Attention)]
        held = [variable for one in kept for variable in (one.keys, one.values)]
        itemsize = held[0].dtype.size
        return Cache(sum(one.shape.num_elements() for one in held) * itemsize, itemsize)

    def wait(self) -> None:
        tf.test.experimental.sync_devices()

    def close(self) -> None:
        self.__dict__.clear()
        keras_models.forget()

    def facts(self) -> Settings:
        if not self.__dict__:
            return {}
        return {**graph_facts(self.step), "weights": keras_models.dense_type(self.model)}


def start(cell: Cell, weights: Weights, prompts: np.ndarray) -> Generation:
    assert isinstance(cell.dims, DecoderDims)
    dims, (batch, length) = cell.dims, prompts.shape
    room = length + NEW_TOKENS
    ids = keras.Input(batch_shape=(batch, None), dtype="int32", name="ids")
    places = keras.Input(batch_shape=(None,), dtype="int32", name="places")
    shape = (batch, room, dims.kv_heads, dims.head_width)
    caches = [Attention(shape) for _ in range(dims.layers)]
    mixes = [lambda *three, cache=cache: cache(*three, places[0]) for cache in caches]
    model = keras.Model([ids, places], next_logits(ids, places, dims, room=room, mixes=mixes))
    n_params = keras_models.serve(cell, model, weights)
    return Generation(cell, model, prompts, n_params=n_params)
