"""The setting ``input=pipeline``: a tf.data set, as TensorFlow's guide builds one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from backends.fed import Fed
from bench.contract import Batch, Batches, Cell
from bench.pipeline import Samples


def endless(cell: Cell, batches: Batches, place: Callable[[Batch], Any]) -> Iterator[Any]:
    """Those on the device again and again, or tf.data's. place: of a batch on the host."""
    if batches.samples is None:
        return itertools.cycle([place(batch) for batch in batches.train])
    name = "tf.data, prefetch AUTOTUNE"
    # A list of inputs: tf.data would stack one into a tensor.
    return Fed(dataset(cell, batches.samples), lambda one: (list(one[0]), one[1]), name=name)


def dataset(cell: Cell, samples: Samples) -> tf.data.Dataset:
    """Batches of the samples in their order, made while the step before runs."""
    made = tf.data.Dataset.from_tensor_slices(tuple(samples.columns.values()))
    made = made.batch(cell.batch, drop_remainder=True)
    return made.map(sample, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def sample(*columns: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], tf.Tensor]:
    """Inputs and label: images channels last, ids and mask int32."""
    *inputs, label = columns
    if inputs[0].dtype.is_floating:
        return (tf.transpose(inputs[0], (0, 2, 3, 1)),), label
    return tuple(tf.cast(one, tf.int32) for one in inputs), label
