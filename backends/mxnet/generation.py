"""Greedy generation with a cache that is written in place, between two graphs.

An operator of MXNet writes into no input of its graph, but a slice of an array can be assigned to.
So the graphs, for the prompts and for one token of each, give the new keys and values of all layers
together, and one assignment puts them into the cache.
"""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock, nn
from mxnet.ndarray import NDArray

from backends.mxnet import models
from backends.mxnet.decoder import Decoder, causal, constants
from backends.mxnet.encoder import MASKED
from backends.mxnet.precision import context, dtype_name
from backends.mxnet.programs import STATIC
from backends.mxnet.quantised import quantised
from backends.rotary import tables
from bench import generation
from bench.contract import Cell, Settings, Weights
from bench.dims import DecoderDims
from bench.generation import NEW_TOKENS, Cache

CALIBRATED = 8
"""Tokens after the prompts whose ranges the weights and activations of int8 are chosen by."""


class Prompts(HybridBlock):
    """ids [B, P] -> the next token [B, 1], its logits [B, vocab], and the new keys and values,
    [2 * layers, B * kv_heads, P, width of a head].
    """

    def __init__(self, decoder: Decoder, dims: DecoderDims) -> None:
        super().__init__()
        self.model, self.head = decoder.model, decoder.head
        constants(self, causal(dims))

    def hybrid_forward(
        self, F: Any, ids: Any, cos: Any, sin: Any, future: Any
    ) -> tuple[Any, Any, Any]:
        x, *found = self.model(ids, cos, sin, future)
        return answer(F, self.head, x, found)


class Token(HybridBlock):
    """The same of one token, ids [B, 1], at a place [1], and of the cache's parts by layers."""

    def __init__(self, decoder: Decoder, dims: DecoderDims, room: int) -> None:
        super().__init__()
        self.model, self.head = decoder.model, decoder.head
        cos, sin = tables(dims, room)
        order = np.append(np.arange(room), -1)[None, None]  # the new token, behind the cache
        constants(self, {"cos": cos, "sin": sin, "order": order})

    def hybrid_forward(
        self, F: Any, ids: Any, place: Any, *caches: Any, cos: Any, sin: Any, order: Any
    ) -> tuple[Any, Any, Any]:
        angles = (F.expand_dims(F.take(table, place), axis=0) for table in (cos, sin))
        empty = F.broadcast_greater_equal(order, F.reshape(place, (1, 1, 1)))
        x, *found = self.model(ids, *angles, empty * -MASKED, *caches)
        return answer(F, self.head, x, found)


def answer(F: Any, head: nn.Dense, x: Any, found: list[Any]) -> tuple[Any, Any, Any]:
    """The head on the last of x [B, S, W], and the greedy choice."""
    logits = F.reshape(head(F.slice_axis(x, axis=1, begin=-1, end=None)), (0, -1))
    return F.argmax(logits, axis=1, keepdims=True), logits, F.stack(*found)


class Generation(generation.Generation):
    """prompts: int64 [B, P]. networks: of the prompts, and of one token."""

    def __init__(
        self,
        cell: Cell,
        networks: tuple[HybridBlock, HybridBlock],
        prompts: np.ndarray,
        *,
        n_params: int,
    ) -> None:
        assert isinstance(cell.dims, DecoderDims)
        dims, (batch, self.length), where = cell.dims, prompts.shape, context(cell)
        self.n_params = n_params
        self.first, self.further = networks
        room = self.length + NEW_TOKENS
        shape = (2 * dims.layers, batch * dims.kv_heads, room, dims.head_width)
        self.kept = mx.nd.zeros(shape, ctx=where)
        self.parts = [self.kept[index] for index in range(len(self.kept))]  # views
        self.prompts = mx.nd.array(prompts, ctx=where, dtype="float32")  # as programs.place
        self.places = [mx.nd.array([place], ctx=where) for place in range(room)]
        self.calibrated = "the prompts that it answers" if cell.precision == "int8" else ""
        self.filled = 0
        self.chosen, self.output = self.prompts, self.prompts

    def prefill(self) -> None:
        self.filled = 0
        self._take(*self.first(self.prompts), count=self.length)

    def decode(self) -> None:
        self._take(*self.further(*self.given()), count=1)

    def given(self) -> list[NDArray]:
        """What the graph of one token takes."""
        return [self.chosen, self.places[self.filled], *self.parts]

    def _take(self, chosen: NDArray, output: NDArray, new: NDArray, *, count: int) -> None:
        """What a graph has made of ``count`` tokens."""
        self.chosen, self.output = chosen, output
        self.kept[:, :, self.filled : self.filled + count] = new
        self.filled += count

    def tokens(self) -> np.ndarray:
        return self.chosen.asnumpy()[:, 0].astype(np.int64)

    def logits(self) -> np.ndarray:
        logits: np.ndarray = self.output.asnumpy()
        return logits

    def cache(self) -> Cache:
        size = np.dtype(self.kept.dtype).itemsize
        return Cache(self.kept.size * size, size)

    def wait(self) -> None:
        mx.nd.waitall()

    def close(self) -> None:
        mx.nd.waitall()
        self.__dict__.clear()
        gc.collect()

    def facts(self) -> Settings:
        if not self.__dict__:
            return {}
        weights = {dtype_name(one.data()) for one in self.further.collect_params().values()}
        return {
            "compiled": bool(self.further._active),  # noqa: SLF001  no public way
            "weights": "/".join(sorted(weights)),
            **({"calibrated_on": self.calibrated} if self.calibrated else {}),
        }


def start(cell: Cell, weights: Weights, prompts: np.ndarray) -> Generation:
    assert isinstance(cell.dims, DecoderDims)
    dims, where = replace(cell.dims, sequence=prompts.shape[1]), context(cell)
    decoder = models.make(dims)
    assert isinstance(decoder, Decoder)
    models.load_weights(decoder, weights)
    count = models.n_params(decoder)
    decoder.collect_params().setattr("grad_req", "null")  # or gradients would take as much again
    decoder.collect_params().reset_ctx(where)
    networks = Prompts(decoder, dims), Token(decoder, dims, prompts.shape[1] + NEW_TOKENS)
    for network in networks:
        network.params.initialize(ctx=where)  # its own, which are constants
    if cell.precision == "int8":
        plain = Generation(cell, networks, prompts, n_params=count)
        plain.prefill()
        networks = quantised(networks[0], [[plain.prompts]]), quantised(networks[1], seen(plain))
    if cell.mode == "compiled":
        for network in networks:
            network.hybridize(**STATIC)
    return Generation(cell, networks, prompts, n_params=count)


def seen(program: Generation) -> list[list[NDArray]]:
    """What the graph of one token is given for the next tokens. It sees nothing of the cache behind
    its place, so the cache as it is at the end does for all.
    """
    found = []
    for _ in range(CALIBRATED):
        found.append(program.given())
        program.decode()
    return found
