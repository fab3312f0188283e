"""Weight layouts as data: from the canonical names and shapes to a framework's own.

The models of every adapter carry the canonical attribute names (``layer1.0.conv1``,
``encoder.layer.0.attention.self.query``, ``model.layers.0.self_attn.q_proj``), so a framework
differs in little: how it calls a layer's parameters, and which way round its kernels lie. That is a
``Layout``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from bench.contract import Weights

KINDS = (
    ("conv", r"(conv\d*|downsample\.0)\.weight$"),
    ("norm", r"(bn\d*|downsample\.1|LayerNorm)\.(weight|bias|running_mean|running_var)$"),
    ("rms_norm", r"(_layernorm|\.norm)\.weight$"),
    ("embedding", r"(_embeddings|\.embed_tokens)\.weight$"),
    ("dense", r"\.weight$"),
    ("bias", r"\.bias$"),
)
"""What a canonical tensor is; the first pattern that is found in its name decides."""


@dataclass(frozen=True)
class Layout:
    """How one framework stores what PyTorch stores.

    conv, dense: axes of the canonical OIHW kernel and (out, in) matrix, in the framework's order.
    names: kind of tensor -> canonical last part of the name -> the framework's.
    """

    conv: tuple[int, ...] = (0, 1, 2, 3)
    dense: tuple[int, ...] = (0, 1)
    names: dict[str, dict[str, str]] = field(default_factory=dict)


def kind(name: str) -> str:
    """conv, norm, rms_norm, embedding, dense or bias."""
    return next(kind for kind, pattern in KINDS if re.search(pattern, name))


def arrange(weights: Weights, layout: Layout) -> Iterator[tuple[str, np.ndarray]]:
    """Each canonical tensor under the framework's name, float32, contiguous, in its layout."""
    for name, value in weights.items():
        what = kind(name)
        path, _, last = name.rpartition(".")
        axes = {"conv": layout.conv, "dense": layout.dense}.get(what)
        moved = value if axes is None else value.transpose(axes)
        last = layout.names.get(what, {}).get(last, last)
        yield f"{path}.{last}", np.ascontiguousarray(moved)


def fill(
    weights: Weights, layout: Layout, *, into: dict[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """The arranged weights, checked against the model's own parameters.

    into: the framework's name -> shape, of all that the model holds. ValueError names what is
    missing, unknown or of another shape.
    """
    found = dict(arrange(weights, layout))
    missing, unknown = sorted(into.keys() - found.keys()), sorted(found.keys() - into.keys())
    misshaped = [
        f"{name}: {found[name].shape}, the model has {shape}"
        for name, shape in into.items()
        if name in found and found[name].shape != tuple(shape)
    ]
    if missing or unknown or misshaped:
        raise ValueError(
            f"weights do not fit the model: missing {missing}, unknown {unknown}, "
            f"of another shape {misshaped}"
        )
    return found
