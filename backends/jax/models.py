"""The networks, and how the canonical weights get into them.

Nothing is initialised: the weight file replaces every value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
from flax import nnx

from backends.jax.cnn import Cnn
from backends.jax.decoder import Decoder
from backends.jax.encoder import Encoder
from backends.layouts import Layout, fill
from bench.contract import Weights
from bench.dims import CnnDims, DecoderDims, Dims, EncoderDims

LAYOUT = Layout(
    conv=(2, 3, 1, 0),
    dense=(1, 0),
    names={
        "conv": {"weight": "kernel"},
        "dense": {"weight": "kernel"},
        "embedding": {"weight": "embedding"},
        "rms_norm": {"weight": "scale"},
        "norm": {"weight": "scale", "running_mean": "mean", "running_var": "var"},
    },
)
"""Flax keeps kernels as HWIO and (in, out)."""
KINDS: dict[type, Any] = {CnnDims: Cnn, EncoderDims: Encoder, DecoderDims: Decoder}


def make(dims: Dims, weights: Weights, *, dtype: Any = None) -> nnx.Module:
    """The model with these weights on the default device; ValueError names what does not fit.

    dtype: the compute type; None: float32.
    """
    kind = KINDS[type(dims)]
    # Traced, not run: initialisers run one by one would each be compiled, 14 s and more in all.
    graph, state = nnx.split(nnx.eval_shape(lambda: kind(dims, dtype=dtype)))
    variables = {named(path): one for path, one in nnx.to_flat_state(state)}
    shapes = {name: one.get_value().shape for name, one in variables.items()}
    for name, value in fill(weights, LAYOUT, into=shapes).items():
        # Copied: XLA may use a numpy array where it lies, and could not donate its memory then.
        variables[name].set_value(jnp.array(value))
    return nnx.merge(graph, state)


def named(path: Iterable[Any]) -> str:
    """A variable's name as ``LAYOUT`` has it: flax's adapter is one module, not one for each of its
    two matrices.
    """
    name = ".".join(map(str, path))
    return name.replace(".lora.lora_a", ".lora_A.kernel").replace(".lora.lora_b", ".lora_B.kernel")
