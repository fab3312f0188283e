"""Greedy generation with a static cache, which a jitted step is given and gives back, donated.

The step is compiled for two shapes: for the prompts, and for one token of each. Where they stand is
data, and the step counts it on.
"""

from __future__ import annotations

import gc
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from backends.jax import attention, models
from backends.jax.programs import DTYPES, integers
from backends.jax.split import Split, State, arrays
from backends.rotary import tables
from bench import generation
from bench.contract import Cell, Settings, Weights
from bench.dims import DecoderDims
from bench.generation import NEW_TOKENS, Cache

Pair = tuple[Array, Array]
"""Keys and values of one layer, each [B, kv_heads, room, width of a head]."""
Stepped = tuple[list[Pair], Array, Array, Array]
"""The caches, the tokens that were chosen [B, 1], their place, and the logits [B, vocab]."""


class LayerCache:
    """``Past`` of one layer while a step is traced; the tokens at hand stand from ``place`` on."""

    def __init__(self, held: Pair, place: Array) -> None:
        self.held = held
        self.place = place

    def extend(self, key: Array, value: Array) -> tuple[Array, Array, Array | None]:
        """Prompts attend to themselves: the room after them is empty yet."""
        keys, values = self.held
        self.held = self._write(keys, key), self._write(values, value)
        if key.shape[1] > 1:
            return key, value, None
        keys, values = map(turned, self.held)
        return keys, values, (jnp.arange(keys.shape[1]) <= self.place)[None, None, None]

    def _write(self, held: Array, new: Array) -> Array:
        return lax.dynamic_update_slice_in_dim(held, turned(new), self.place, axis=2)


def turned(x: Array) -> Array:
    """[B, heads, S, width] -> [B, S, heads, width], and back."""
    return x.swapaxes(1, 2)


def make_step(split: Split, dims: DecoderDims, *, room: int) -> Any:
    """room: places of the cache."""

    def step(state: State, caches: list[Pair], ids: Array, place: Array) -> Stepped:
        decoder = split.merge(*state)
        pasts = [LayerCache(held, place) for held in caches]
        x = decoder.model.embed_tokens(ids)
        cos, sin = (
            lax.dynamic_slice_in_dim(jnp.array(one[:, None], x.dtype), place, ids.shape[1])
            for one in tables(dims, room)
        )
        for layer, past in zip(decoder.model.layers, pasts):
            x = layer(x, cos, sin, past)
        logits = decoder.model.embed_tokens.attend(decoder.model.norm(x[:, -1]))
        chosen = jnp.argmax(logits, -1, keepdims=True)
        return [past.held for past in pasts], chosen, place + ids.shape[1], logits

    return step


class Generation(generation.Generation):
    """prompts: int64 [B, P]. step: compiled for each shape that it meets."""

    def __init__(self, state: State, caches: list[Pair], prompts: np.ndarray, *, step: Any) -> None:
        self.state = state
        self.n_params = sum(value.size for value in jax.tree.leaves(state))
        self.caches = caches
        self.prompts = integers(prompts)
        self.first = jnp.int32(0)
        self.step = jax.jit(step, donate_argnums=1)
        self.chosen, self.place = self.prompts, self.first
        self.output: Array | None = None

    def prefill(self) -> None:
        self.chosen, self.place = self.prompts, self.first
        self.decode()

    def decode(self) -> None:
        self.caches, self.chosen, self.place, self.output = self.step(
            self.state, self.caches, self.chosen, self.place
        )

    def tokens(self) -> np.ndarray:
        return np.array(self.chosen)[:, 0]

    def logits(self) -> np.ndarray:
        assert self.output is not None, "prefill comes first"
        return np.array(self.output, np.float32)  # a copy: a view would keep the output alive

    def cache(self) -> Cache:
        held = jax.tree.leaves(self.caches)
        return Cache(sum(one.nbytes for one in held), held[0].itemsize)

    def wait(self) -> None:
        jax.block_until_ready((self.caches, self.chosen))

    def close(self) -> None:
        self.__dict__.clear()
        gc.collect()

    def facts(self) -> Settings:
        if not self.__dict__:
            return {}
        return {
            "compiled": isinstance(self.step, jax.stages.Wrapped),
            "weights": str(self.state[0][0].dtype),
        }


def start(cell: Cell, weights: Weights, prompts: np.ndarray) -> Generation:
    """Half precision is that of weights and cache, as models are served, and not mixed, as they are
    trained.
    """
    dims, dtype = cell.dims, DTYPES.get(cell.precision, jnp.float32)
    assert isinstance(dims, DecoderDims)
    model: Any = models.make(dims, weights, dtype=dtype)
    attention.apply(cell, model)
    state = jax.tree.map(lambda value: value.astype(dtype), arrays(model))
    batch, length = prompts.shape
    room = length + NEW_TOKENS
    shape = (batch, dims.kv_heads, room, dims.head_width)
    caches = [(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)) for _ in range(dims.layers)]
    return Generation(state, caches, prompts, step=make_step(Split(model), dims, room=room))
