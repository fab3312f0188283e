"""Torch's generation with one mistake planted in it: ``--setting break=cache_shifted``, say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from backends.torch import generation
from bench.contract import Cell, Weights

start_right = generation.start


def start(cell: Cell, weights: Weights, prompts: Any) -> generation.Generation:
    BROKEN[cell.settings["break"]]()
    return start_right(cell, weights, prompts)


def place_behind() -> None:
    """The first new token stands where the prompt's last one does."""
    right = generation.Generation.decode

    def decode(self: Any) -> None:
        if len(self.places) > 1:
            self.places = self.places - 1
        right(self)

    generation.Generation.decode = decode


def cache_shifted() -> None:
    """New keys and values replace those before them."""
    right = generation.LayerCache.at

    def at(self: Any, places: torch.Tensor, seen: Any) -> Any:
        return right(self, places if seen is None else places - 1, seen)

    generation.LayerCache.at = at


def sees_empty_room() -> None:
    """Keys of zeros, of places that are not filled yet, take part in the softmax."""
    right = generation.LayerCache.at

    def at(self: Any, places: torch.Tensor, seen: Any) -> Any:
        return right(self, places, None if seen is None else torch.ones_like(seen))

    generation.LayerCache.at = at


def prompts_reversed() -> None:
    """As where a framework pads on the other side."""
    right = generation.Generation.prefill

    def prefill(self: Any) -> None:
        self.prompts = self.prompts.flip(1)
        right(self)

    generation.Generation.prefill = prefill


BROKEN: dict[str, Callable[[], None]] = {
    "nothing": lambda: None,
    "place_behind": place_behind,
    "cache_shifted": cache_shifted,
    "sees_empty_room": sees_empty_room,
    "prompts_reversed": prompts_reversed,
}
