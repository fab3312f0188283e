"""Greedy generation with a static cache, as PyTorch's gpt-fast has it.

There are two shapes, so the compiled mode compiles two programs: for the prompts, and for one token
of each.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backends.torch import models
from backends.torch.decoder import Decoder, rotation
from backends.torch.placing import device
from backends.torch.programs import DTYPES, compiled, release, synchronize
from bench import generation
from bench.contract import Cell, Settings, Weights
from bench.dims import DecoderDims
from bench.generation import NEW_TOKENS, Cache


class LayerCache(nn.Module):
    """Keys and values of one layer, [B, kv_heads, room, width of a head]; ``Past`` of its layer."""

    key: Tensor
    value: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("key", torch.zeros(shape))
        self.register_buffer("value", torch.zeros(shape))

    def at(self, places: Tensor, seen: Tensor | None) -> LayerCache:
        """The tokens at hand stand at ``places`` [S] and see ``seen`` [S, room]."""
        self.places, self.seen = places, seen
        return self

    def extend(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Prompts attend to themselves: the room after them is empty yet."""
        self.key.index_copy_(2, self.places, key)
        self.value.index_copy_(2, self.places, value)
        if self.seen is None:
            return key, value, None
        return self.key, self.value, self.seen


class Cached(nn.Module):
    """A decoder and its caches; ids [B, S] at places [S] -> logits of the last, [B, vocab].

    Many ids are the prompts, which come first; a single one sees all before it.
    """

    cos: Tensor
    sin: Tensor
    room: Tensor

    def __init__(self, decoder: Decoder, dims: DecoderDims, *, batch: int, room: int) -> None:
        super().__init__()
        self.decoder = decoder
        shape = (batch, dims.kv_heads, room, dims.head_width)
        self.caches = nn.ModuleList(LayerCache(shape) for _ in range(dims.layers))
        cos, sin = rotation(dims, torch.zeros(1, room, 1))
        self.register_buffer("cos", cos)
        self.register_buffer("sin", sin)
        self.register_buffer("room", torch.arange(room))

    def forward(self, ids: Tensor, places: Tensor) -> Tensor:
        seen = self.room <= places[:, None] if ids.shape[1] == 1 else None
        model, by = self.decoder.model, (self.cos[places], self.sin[places])
        x = model.embed_tokens(ids)
        for layer, cache in zip(model.layers, self.caches):
            x = layer(x, by, cache.at(places, seen))
        return F.linear(model.norm(x[:, -1]), model.embed_tokens.weight)


class Generation(generation.Generation):
    """prompts: int64 [B, P]. forward: what is called, ``network`` itself or what is made of it."""

    def __init__(
        self, cell: Cell, network: Cached, prompts: np.ndarray, *, forward: Callable[..., Tensor]
    ) -> None:
        self.cell = cell
        self.n_params = sum(one.numel() for one in network.parameters())
        self.network = network
        self.forward = forward
        self.prompts = torch.from_numpy(np.array(prompts)).to(device(cell))
        self.first = torch.arange(prompts.shape[1], device=device(cell))
        self.places = self.first
        self.output: Tensor | None = None
        self.chosen = self.prompts

    def prefill(self) -> None:
        self.chosen, self.places = self.prompts, self.first
        self._run()

    def decode(self) -> None:
        self.places = self.places[-1:] + 1
        self._run()

    def _run(self) -> None:
        with torch.inference_mode():
            self.output = self.forward(self.chosen, self.places)
            self.chosen = self.output.argmax(-1, keepdim=True)

    def tokens(self) -> np.ndarray:
        return self.chosen[:, 0].cpu().numpy()

    def logits(self) -> np.ndarray:
        assert self.output is not None, "prefill comes first"
        return self.output.float().cpu().numpy()

    def cache(self) -> Cache:
        held = list(self.network.caches.buffers())
        return Cache(sum(one.nbytes for one in held), held[0].itemsize)

    def wait(self) -> None:
        synchronize(self.cell)

    def close(self) -> None:
        cell = self.cell
        self.__dict__.clear()
        release(cell)

    def facts(self) -> Settings:
        if not self.__dict__:
            return {}
        weight = next(self.network.decoder.parameters())
        named = str(weight.dtype).removeprefix("torch.")
        return {"compiled": hasattr(self.forward, "_orig_mod"), "weights": named}


def cached(cell: Cell, weights: Weights, prompts: np.ndarray) -> Cached:
    """The network on its device. Half precision is that of weights and cache, as models are served,
    and not mixed, as they are trained.
    """
    assert isinstance(cell.dims, DecoderDims)
    model = models.make(cell.dims)
    models.load_weights(model, weights)
    assert isinstance(model, Decoder)
    batch, length = prompts.shape
    network = Cached(model, cell.dims, batch=batch, room=length + NEW_TOKENS)
    return network.to(device(cell), DTYPES.get(cell.precision, torch.float32)).eval()


def start(cell: Cell, weights: Weights, prompts: np.ndarray) -> Generation:
    network = cached(cell, weights, prompts)
    return Generation(cell, network, prompts, forward=compiled(cell, network))
