"""What TensorFlow is asked beside speed: checkpoints, shapes, files and exchange of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from safetensors.tensorflow import load_file

from backends.keras import models as keras_models
from backends.tensorflow.programs import Training, place
from bench.capabilities import Flexible
from bench.contract import INPUTS, Batch, Cell, Program, Unsupported, Weights
from bench.dims import EncoderDims


def save(program: Program, folder: Path) -> None:
    """TensorFlow's guide "Training checkpoints"."""
    checkpoint(program).save(folder / "ckpt")


def restore(program: Program, folder: Path) -> None:
    """All that the program holds must be in the file, and the other way round."""
    found = tf.train.latest_checkpoint(folder)
    checkpoint(program).restore(found).assert_consumed()


def checkpoint(program: Program) -> tf.train.Checkpoint:
    assert isinstance(program, Training)
    return tf.train.Checkpoint(model=program.model, optimizer=program.optimizer)


def flexible(cell: Cell, weights: Weights) -> Flexible:
    """The guide "Better performance with tf.function": dimensions of None in the signature."""
    if cell.mode == "compiled":
        raise Unsupported("XLA compiles a tf.function anew for each shape, traced once or not")
    assert isinstance(cell.dims, EncoderDims)
    model = keras_models.encoder(cell.dims, length=None)
    keras_models.load_weights(model, weights)
    signature = [tf.TensorSpec((None, None), tf.int32) for _ in INPUTS[cell.model]]
    forward = tf.function(lambda inputs: model(inputs, training=False), input_signature=[signature])

    def infer(batch: Batch) -> np.ndarray:
        logits: np.ndarray = forward(place(cell, batch)).numpy()
        return logits

    return Flexible(infer, forward.experimental_get_tracing_count)


def tensors(path: Path) -> Mapping[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in load_file(path).items()}


def take(array: np.ndarray) -> tf.Tensor:
    """From a capsule, for TensorFlow's function takes no array."""
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def give(tensor: tf.Tensor) -> tf.Tensor:
    """A tensor has ``__dlpack__`` itself."""
    return tensor
