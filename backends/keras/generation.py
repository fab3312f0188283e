"""Greedy generation with a cache, as KerasHub's causal models have it: a functional model takes the
keys and values of the tokens before, and gives them back with the new ones in their places.

It is described once, for any number of tokens; where the engine compiles, it makes two programs of
it: for the prompts, and for one token of each.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from backends.keras import models
from backends.keras.decoder import attention, next_logits
from backends.keras.engines import engine
from backends.keras.greedy import Pair, step_of
from backends.keras.parts import Tensor
from backends.keras.programs import how, place
from bench import generation
from bench.contract import Cell, Settings, Weights
from bench.dims import DecoderDims
from bench.generation import NEW_TOKENS, Cache

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class Attention(layers.Layer):
    """Queries [B, S, heads, width of a head] attend to all tokens so far; also what is past then.

    place: of the first of them. Many are the prompts: these come first, and attend to themselves.
    """

    def call(
        self, query: Tensor, key: Tensor, value: Tensor, past: Pair, place: Tensor
    ) -> list[Tensor]:
        if query.shape[1] > 1:
            kept = updated(past, [key, value], 0)
            return [attention(query, key, value), *kept]
        kept = updated(past, [key, value], place)
        seen = ops.arange(kept[0].shape[1], dtype="int32") <= place
        return [attention(query, *kept, mask=seen[None, None, None]), *kept]

    def compute_output_spec(
        self, query: Tensor, key: Tensor, value: Tensor, past: Pair, place: Tensor
    ) -> list[Tensor]:
        return [keras.KerasTensor(one.shape, one.dtype) for one in (query, *past)]


def updated(past: Pair, new: Pair, place: Tensor) -> Pair:
    """The cache with the new tokens in it, the first of them at ``place``."""
    return [ops.slice_update(old, (0, place, 0, 0), one) for old, one in zip(past, new)]


def cached(dims: DecoderDims, *, batch: int, room: int) -> keras.Model:
    """(ids [B, S], places [S], past) -> (logits [B, vocab], past)."""
    ids = keras.Input(batch_shape=(batch, None), dtype="int32", name="ids")
    places = keras.Input(batch_shape=(None,), dtype="int32", name="places")
    shape, dtype = (batch, room, dims.kv_heads, dims.head_width), keras.config.dtype_policy()
    past = [
        [keras.Input(batch_shape=shape, dtype=dtype.compute_dtype) for _ in "kv"]
        for _ in range(dims.layers)
    ]
    after: list[Pair] = []

    def mix(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        mixed, *kept = Attention()(query, key, value, past[len(after)], places[0])
        after.append(kept)
        return mixed

    logits = next_logits(ids, places, dims, room=room, mixes=[mix] * dims.layers)
    return keras.Model([ids, places, past], [logits, after], name="cached")


class Generation(generation.Generation):
    """prompts: int64 [B, P]. n_params: of the model before it was quantized."""

    def __init__(
        self, cell: Cell, model: keras.Model, prompts: np.ndarray, *, n_params: int
    ) -> None:
        self.cell = cell
        self.n_params = n_params
        self.model = model
        self.step = step_of(model)
        self.prompts = place(prompts.astype(np.int32))
        self.first = place(np.arange(prompts.shape[1], dtype=np.int32))
        _, _, past = model.input
        self.past = keras.tree.map_structure(lambda one: ops.zeros(one.shape, one.dtype), past)
        self.chosen, self.places = self.prompts, self.first
        self.output: Tensor = None

    def prefill(self) -> None:
        self.chosen, self.places = self.prompts, self.first
        self.decode()

    def decode(self) -> None:
        made = self.step(self.chosen, self.places, self.past)
        self.output, self.chosen, self.places, self.past = made

    def tokens(self) -> np.ndarray:
        chosen: np.ndarray = ops.convert_to_numpy(self.chosen)[:, 0]
        return chosen

    def logits(self) -> np.ndarray:
        assert self.output is not None, "prefill comes first"
        return np.asarray(ops.convert_to_numpy(self.output), np.float32)

    def cache(self) -> Cache:
        held = keras.tree.flatten(self.past)
        itemsize = BYTES[keras.backend.standardize_dtype(held[0].dtype)]
        return Cache(sum(int(np.prod(one.shape)) for one in held) * itemsize, itemsize)

    def wait(self) -> None:
        engine().wait()

    def close(self) -> None:
        self.__dict__.clear()
        models.forget()

    def facts(self) -> Settings:
        if not self.__dict__:
            return {}
        return {
            "jit_compile": self.model.jit_compile,
            "run_eagerly": self.model.run_eagerly,
            "weights": models.dense_type(self.model),
        }


def start(cell: Cell, weights: Weights, prompts: np.ndarray) -> Generation:
    assert isinstance(cell.dims, DecoderDims)
    batch, length = prompts.shape
    model = cached(cell.dims, batch=batch, room=length + NEW_TOKENS)
    n_params = models.serve(cell, model, weights)
    model.compile(optimizer=None, **how(cell))
    return Generation(cell, model, prompts, n_params=n_params)
