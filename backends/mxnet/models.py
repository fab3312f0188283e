"""The two networks, and how the canonical weights get into them.

Initialisers are Gluon's own and of no consequence: ``load_weights`` replaces every value.
"""

from __future__ import annotations

import mxnet as mx
from mxnet.gluon import HybridBlock, Parameter

from backends.layouts import Layout, fill
from backends.mxnet.cnn import Cnn
from backends.mxnet.encoder import Encoder
from bench.contract import Weights
from bench.dims import CnnDims, Dims

LAYOUT = Layout(names={"norm": {"weight": "gamma", "bias": "beta"}})


def make(dims: Dims) -> HybridBlock:
    return Cnn(dims) if isinstance(dims, CnnDims) else Encoder(dims)


def load_weights(block: HybridBlock, weights: Weights) -> None:
    """Copy the canonical weights in; ValueError names what does not fit."""
    block.initialize()
    # By structural name, as save_parameters writes them; there is no public way.
    own: dict[str, Parameter] = block._collect_params_with_prefix()  # noqa: SLF001  the only structural names
    values = fill(weights, LAYOUT, into={name: one.shape for name, one in own.items()})
    for name, value in values.items():
        own[name].set_data(mx.nd.array(value, dtype=value.dtype))
