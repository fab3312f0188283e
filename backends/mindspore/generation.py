"""Greedy generation with a static cache, as MindFormers has it: one program for the prompts, one
for a token of each, and keys and values that are parameters, updated in place.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from backends.mindspore import models, precision
from backends.mindspore.decoder import Decoder, places
from bench import generation
from bench.contract import Cell, Settings, Weights
from bench.dims import DecoderDims
from bench.generation import NEW_TOKENS, Cache

Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(ids [B, S], places [S]) -> the logits of the last token, [B, vocab], and its successors [B]."""


class LayerCache(nn.Cell):
    """Keys and values of one layer, [B * kv_heads * room, width of a head].

    It takes those of the tokens at hand, [B, kv_heads, S, width of a head], and gives those to
    attend to: prompts attend to themselves, for the room after them is empty yet.
    """

    def __init__(self, shape: tuple[int, int, int, int], dtype: ms.Type) -> None:
        super().__init__()
        self.shape = shape
        rows = np.zeros((int(np.prod(shape[:3])), shape[3]), np.float32)
        self.key = Parameter(Tensor(rows, dtype), requires_grad=False)
        self.value = Parameter(Tensor(rows, dtype), requires_grad=False)
        self.update = ops.ScatterUpdate()

    def construct(self, key: Tensor, value: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        # Statements: a graph leaves an update out whose result has a name, but is not used.
        self.update(self.key, rows, key.reshape(-1, self.shape[3]))
        self.update(self.value, rows, value.reshape(-1, self.shape[3]))
        if key.shape[2] > 1:
            return key, value
        return self.key.reshape(self.shape), self.value.reshape(self.shape)


class Cached(nn.Cell):
    """A decoder and its caches; a ``Step``. Many ids are the prompts, which come first; a single
    one sees all before it.
    """

    def __init__(self, decoder: Decoder, dims: DecoderDims, *, batch: int, room: int) -> None:
        super().__init__()
        shape = (batch, dims.kv_heads, room, dims.head_width)
        for layer in decoder.model.layers:
            layer.self_attn.past = LayerCache(shape, decoder.model.norm.weight.dtype)
        # Only now: this names all parameters by their paths, and in a graph no two may be alike.
        self.model, self.head = decoder.model, decoder.head
        self.every = places(dims, room)
        self.prompts = places(dims, room - NEW_TOKENS)
        self.starts = Tensor(np.arange(batch * dims.kv_heads, dtype=np.int32)[:, None] * room)

    def construct(self, ids: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        rows = (self.starts + at).reshape(-1)
        known = self.prompts
        if ids.shape[1] == 1:
            cos, sin, hidden = self.every
            known = (cos[at], sin[at], hidden[at])
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x, known, rows)
        last = self.model.norm(x[:, -1])
        logits = self.head(last, self.model.embed_tokens.embedding_table)
        return logits, logits.argmax(-1)


class Generation(generation.Generation):
    """prompts: int64 [B, P]. Compiled: a whole step under ``ms.jit``, one graph for each shape."""

    def __init__(self, cell: Cell, network: Cached, prompts: np.ndarray, *, n_params: int) -> None:
        self.cell = cell
        self.n_params = n_params
        self.network = network
        self.compiled = cell.mode == "compiled"
        self.step = step(network, compiled=self.compiled)
        self.prompts = Tensor(np.array(prompts, np.int32))
        length = prompts.shape[1]
        self.first = Tensor(np.arange(length, dtype=np.int32))
        # Places that are data already: one is taken for each token, and none is computed.
        rest = range(length, length + NEW_TOKENS)
        self.places = [Tensor(np.array([place], np.int32)) for place in rest]
        self.done = 0
        self.output: Tensor | None = None
        self.chosen = self.prompts

    def prefill(self) -> None:
        self.done = 0
        self.output, self.chosen = self.step(self.prompts, self.first)

    def decode(self) -> None:
        at = self.places[self.done]
        self.done += 1
        self.output, self.chosen = self.step(self.chosen.reshape(-1, 1), at)

    def tokens(self) -> np.ndarray:
        tokens: np.ndarray = self.chosen.asnumpy()
        return tokens

    def logits(self) -> np.ndarray:
        assert self.output is not None, "prefill comes first"
        logits: np.ndarray = self.output.asnumpy()
        return logits.astype(np.float32)

    def cache(self) -> Cache:
        layers = [layer.self_attn.past for layer in self.network.model.layers]
        held = [one for layer in layers for one in (layer.key, layer.value)]
        return Cache(sum(one.nbytes for one in held), held[0].itemsize)

    def wait(self) -> None:
        precision.synchronize(self.cell, self.output)

    def close(self) -> None:
        self.__dict__.clear()
        gc.collect()
        ms.runtime.empty_cache()

    def facts(self) -> Settings:
        if not self.__dict__:
            return {}
        named = str(self.network.model.norm.weight.dtype).lower()
        return {"compiled": self.compiled, "weights": named}


def step(network: Cached, *, compiled: bool) -> Step:
    def run(ids: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        return network(ids, at)

    made: Step = ms.jit(run) if compiled else run
    return made


def start(cell: Cell, weights: Weights, prompts: np.ndarray) -> Generation:
    """Half precision is that of weights and cache, as models are served, and not mixed."""
    assert isinstance(cell.dims, DecoderDims)
    model = models.make(cell.dims)
    models.load_weights(model, weights)
    assert isinstance(model, Decoder)
    for parameter in model.get_parameters():
        parameter.set_dtype(precision.DTYPES.get(cell.precision, ms.float32))
    batch, length = prompts.shape
    n_params = sum(parameter.size for parameter in model.get_parameters())
    network = Cached(model, cell.dims, batch=batch, room=length + NEW_TOKENS)
    return Generation(cell, network.set_train(False), prompts, n_params=n_params)
