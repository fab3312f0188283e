"""What a model's layers tell of it."""

from __future__ import annotations

from typing import Any

from keras import layers

from backends.keras.recompute import Recomputed
from bench.contract import Settings


def layers_of(model: Any) -> list[Any]:
    """All of a model, those of recomputed blocks among them; none of what was read from a file."""
    found = getattr(model, "layers", ())
    parts = (one.block.layers if isinstance(one, Recomputed) else [one] for one in found)
    return [layer for part in parts for layer in part]


def layout(model: Any) -> Settings:
    """Where the first convolution has its channels; nothing for a model without one."""
    convolutions = (one for one in layers_of(model) if isinstance(one, layers.Conv2D))
    first = next(convolutions, None)
    return {} if first is None else {"data_format": first.data_format}
