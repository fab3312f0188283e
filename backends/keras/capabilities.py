"""What Keras is asked beside speed: checkpoints, shapes, files and exchange of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from backends.keras import models
from backends.keras.engines import engine
from backends.keras.programs import Training, how, inputs_of, place
from bench.capabilities import Flexible
from bench.contract import Batch, Cell, Program, Unsupported, Weights
from bench.dims import EncoderDims

FILE = "model.keras"


def save(program: Program, folder: Path) -> None:
    """The whole model, as ``keras.saving.save_model``'s page says: the optimizer's state is in."""
    assert isinstance(program, Training)
    engine().sync(program.model)
    program.model.save(folder / FILE)


def restore(program: Program, folder: Path) -> None:
    """A compiled model comes out of the file; what the program has built is dropped for it."""
    assert isinstance(program, Training)
    program.model = keras.saving.load_model(folder / FILE)


class Traced(keras.Model):
    """A model that counts how often Keras traces it to compile a program."""

    traces = 0

    def call(self, *args: Any, **kwargs: Any) -> Any:
        self.traces += 1
        return super().call(*args, **kwargs)


def flexible(cell: Cell, weights: Weights) -> Flexible:
    """``keras.Input``'s page: a dimension of None may be of any size."""
    if cell.mode == "eager":
        raise Unsupported("Keras compiles no program in its eager mode")
    assert isinstance(cell.dims, EncoderDims)
    encoder = models.encoder(cell.dims, length=None)
    models.load_weights(encoder, weights)
    model = Traced(encoder.input, encoder.output)
    model.compile(optimizer=None, **how(cell))

    def infer(batch: Batch) -> np.ndarray:
        return np.asarray(model.predict_on_batch(place(inputs_of(cell, batch))), np.float32)

    return Flexible(infer, lambda: model.traces)


def tensors(path: Path) -> Mapping[str, np.ndarray]:
    raise Unsupported("Keras reads .keras, .h5 and Orbax's files; it has no safetensors reader")


def take(array: np.ndarray) -> Any:
    raise Unsupported("Keras has no DLPack: its tensors are its engine's, which may have it")


def give(tensor: Any) -> Any:
    raise Unsupported("Keras has no DLPack: its tensors are its engine's, which may have it")
