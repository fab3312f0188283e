"""Greedy generation with a static cache, which is laid out as that of Paddle's
FusedMultiTransformer, whose own kernels are for GPUs.

There are two shapes, so ``to_static`` makes two programs: for the prompts, and for one token of
each.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.jit.dy2static.program_translator import StaticFunction
from paddle.nn import functional as F

from backends.paddle import models
from backends.paddle.decoder import Decoder
from backends.paddle.devices import DTYPES, synchronize
from backends.paddle.programs import trainable
from backends.rotary import tables
from bench import generation
from bench.contract import Cell, Settings, Weights
from bench.dims import DecoderDims
from bench.generation import NEW_TOKENS, Cache


class LayerCache(nn.Layer):
    """Keys and values of one layer, [B, kv_heads, room, width of a head]."""

    def __init__(self, shape: list[int]) -> None:
        super().__init__()
        self.register_buffer("key", paddle.zeros(shape))
        self.register_buffer("value", paddle.zeros(shape))


@dataclass
class Slot:
    """``Past`` of one layer: the tokens at hand stand at ``place`` [1] of its cache and behind it;
    a single one sees what ``mask`` [1, room] leaves.

    Not a function: those that to_static did not write anew would lose what they write into a cache.
    """

    cache: LayerCache
    place: Tensor
    mask: Tensor

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Prompts attend to themselves, causally: the room after them is empty yet. Of a single
        token, the queries that share a key are rows of one product, in whose order they lie
        already: nothing is repeated, moved or copied.
        """
        batch, count, heads, width = query.shape
        shared = key.shape[2]
        end = self.place + count
        self.cache.key[:, :, self.place : end] = key.transpose([0, 2, 1, 3])
        self.cache.value[:, :, self.place : end] = value.transpose([0, 2, 1, 3])
        if count > 1:
            return F.scaled_dot_product_attention(query, key, value, is_causal=True)
        query = query.reshape([batch, shared, heads // shared, width]) * width**-0.5
        weights = F.softmax(paddle.matmul(query, self.cache.key, transpose_y=True) + self.mask)
        return paddle.matmul(weights, self.cache.value).reshape([batch, count, heads, width])


class Cached(nn.Layer):
    """A decoder and its caches; ids [B, S], of which the first stands at place [1] -> logits of the
    last, [B, vocab], the token that they choose, [B, 1], and the place behind it.

    Many ids are the prompts, which come first; a single one sees all before it.
    """

    def __init__(self, decoder: Decoder, dims: DecoderDims, *, batch: int, room: int) -> None:
        super().__init__()
        self.decoder = decoder
        shape = [batch, dims.kv_heads, room, dims.head_width]
        self.caches = nn.LayerList([LayerCache(shape) for _ in range(dims.layers)])
        for name, table in zip(("cos", "sin"), tables(dims, room)):
            self.register_buffer(name, paddle.to_tensor(table[:, None]))
        self.register_buffer("room", paddle.arange(room))

    def forward(self, ids: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        model, end = self.decoder.model, place + ids.shape[1]
        cos, sin = self.cos[place:end], self.sin[place:end]
        mask = paddle.where(self.room <= place, 0.0, float("-inf")).astype(cos.dtype)
        x = model.embed_tokens(ids)
        for layer, cache in zip(model.layers, self.caches):
            x = layer(x, cos, sin, Slot(cache, place, mask))
        table = model.embed_tokens.weight
        logits = paddle.matmul(model.norm(x[:, -1]), table, transpose_y=True)
        return logits, logits.argmax(-1, keepdim=True), end


class Generation(generation.Generation):
    """prompts: int64 [B, P]. forward: what is called, ``network`` itself or its static form."""

    def __init__(
        self, cell: Cell, network: Cached, prompts: np.ndarray, *, forward: Callable[..., Tensor]
    ) -> None:
        self.cell = cell
        self.n_params = trainable(network)
        self.network = network
        self.forward = forward
        self.prompts = paddle.to_tensor(np.ascontiguousarray(prompts))
        self.start = paddle.zeros([1], "int64")
        self.output: Tensor | None = None
        self.chosen, self.place = self.prompts, self.start

    def prefill(self) -> None:
        self.chosen, self.place = self.prompts, self.start
        self.decode()

    @paddle.no_grad()
    def decode(self) -> None:
        self.output, self.chosen, self.place = self.forward(self.chosen, self.place)

    def tokens(self) -> np.ndarray:
        return self.chosen[:, 0].numpy()

    def logits(self) -> np.ndarray:
        assert self.output is not None, "prefill comes first"
        return self.output.astype("float32").numpy()

    def cache(self) -> Cache:
        held = self.network.caches.buffers()
        itemsize = held[0].element_size()
        return Cache(sum(int(one.size) for one in held) * itemsize, itemsize)

    def wait(self) -> None:
        synchronize(self.cell)

    def close(self) -> None:
        gpu = self.cell.device != "cpu"
        self.__dict__.clear()
        gc.collect()
        if gpu:
            paddle.device.cuda.empty_cache()

    def facts(self) -> Settings:
        if not self.__dict__:
            return {}
        dtype = str(self.network.decoder.parameters()[0].dtype).rpartition(".")[2]
        return {"compiled": isinstance(self.forward, StaticFunction), "weights": dtype}


def start(cell: Cell, weights: Weights, prompts: np.ndarray) -> Generation:
    """Half precision is that of weights and cache, as models are served, and not mixed, as they
    are trained.
    """
    assert isinstance(cell.dims, DecoderDims)
    model = models.make(cell.dims)
    models.load_weights(model, weights)
    batch, length = prompts.shape
    network = Cached(model, cell.dims, batch=batch, room=length + NEW_TOKENS)
    if cell.precision in DTYPES:
        network = network.to(dtype=DTYPES[cell.precision])
    network.eval()
    forward = network
    if cell.mode == "compiled":
        forward = paddle.jit.to_static(network.forward, full_graph=True)
    return Generation(cell, network, prompts, forward=forward)
