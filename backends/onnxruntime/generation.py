"""Greedy generation with a cache that grows in place, as onnxruntime-genai has it.

One session serves prompts and single tokens: the number of tokens is a named dimension of its
graph, and no code is made for a shape. What it is fed is bound once, in both forms.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from backends.onnxruntime import decoder
from backends.onnxruntime.blockwise import METHOD, Blockwise
from backends.onnxruntime.graph import Graph
from backends.onnxruntime.sessions import Bound
from bench import generation
from bench.contract import Cell, Settings, Weights
from bench.dims import DecoderDims
from bench.generation import NEW_TOKENS, Cache


class Generation(generation.Generation):
    """prompts: int64 [B, P]. On a CPU a run blocks, and its values are numpy's memory."""

    def __init__(self, cell: Cell, bound: Bound, prompts: np.ndarray, *, n_params: int) -> None:
        self.cell = cell
        self.n_params = n_params
        self.method = METHOD if cell.precision == "int8" else "none"
        self.bound = bound
        dims, (batch, self.prompt) = dims_of(cell), prompts.shape
        shape = (batch, dims.kv_heads, self.prompt + NEW_TOKENS, dims.head_width)
        self.caches = [zeros(shape, np.float32) for _ in range(2 * dims.layers)]
        self.length, self.total = zeros((batch,), np.int32), zeros((), np.int32)
        self.chosen = zeros((batch, 1), np.int64)
        self.output = zeros((batch, dims.vocab), np.float32)
        self.places = 0
        self.first = self._bind(ort.OrtValue.ortvalue_from_numpy(prompts))
        self.further = self._bind(self.chosen)

    def _bind(self, ids: ort.OrtValue) -> Any:
        """Of the tokens at hand. Outputs take the memory of inputs: caches, and tokens, which are
        read first and chosen last.
        """
        binding = self.bound.session.io_binding()
        inputs = {decoder.IDS: ids, decoder.LENGTH: self.length, decoder.TOTAL: self.total}
        outputs = {decoder.NEXT: self.chosen, decoder.LOGITS: self.output}
        dims = dims_of(self.cell)
        inputs |= dict(zip(decoder.caches(dims, "past"), self.caches))
        outputs |= dict(zip(decoder.caches(dims, "present"), self.caches))
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)
        return binding

    def prefill(self) -> None:
        self._run(self.first, places=self.prompt)

    def decode(self) -> None:
        self._run(self.further, places=self.places + 1)

    def _run(self, binding: Any, *, places: int) -> None:
        """places: of the cache, which are filled after it."""
        self.places = places
        self.length.update_inplace(np.full(self.length.shape(), places - 1, np.int32))
        self.total.update_inplace(np.array(places, np.int32))
        self.bound.session.run_with_iobinding(binding)

    def tokens(self) -> np.ndarray:
        """Copied: ``numpy`` is a view of what the next run writes over; so are the logits."""
        chosen: np.ndarray = self.chosen.numpy()[:, 0].copy()
        return chosen

    def logits(self) -> np.ndarray:
        logits: np.ndarray = self.output.numpy().copy()
        return logits

    def cache(self) -> Cache:
        held = sum(one.tensor_size_in_bytes() for one in self.caches)
        return Cache(held, np.dtype(np.float32).itemsize)

    def close(self) -> None:
        self.__dict__.clear()

    def facts(self) -> Settings:
        if not self.__dict__:
            return {}
        weights = "float32" if self.method == "none" else "int8"
        return {"quantization": self.method, "weights": weights, **self.bound.facts()}


def dims_of(cell: Cell) -> DecoderDims:
    assert isinstance(cell.dims, DecoderDims)
    return cell.dims


def zeros(shape: tuple[int, ...], dtype: type) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype))


def start(cell: Cell, weights: Weights, prompts: np.ndarray) -> Generation:
    graph = (Blockwise if cell.precision == "int8" else Graph)(weights)
    made = decoder.make(graph, dims_of(cell), room=prompts.shape[1] + NEW_TOKENS)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        # Beside the graph, for a file of protobuf ends at 2 GB. The session maps or copies them.
        path = Path(folder, "decoder.onnx")
        onnx.save(made, path, save_as_external_data=True, location="weights")
        bound = Bound(cell, str(path), [])
    n_params = sum(value.size for value in weights.values())
    return Generation(cell, bound, np.array(prompts), n_params=n_params)
