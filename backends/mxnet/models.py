"""The networks, and how the canonical weights get into them.

Initialisers are Gluon's own and of no consequence: ``load_weights`` replaces every value.
"""

from __future__ import annotations

from typing import Any

import mxnet as mx
from mxnet.gluon import Constant, HybridBlock, Parameter

from backends.layouts import Layout, fill
from backends.mxnet.cnn import Cnn
from backends.mxnet.decoder import Decoder
from backends.mxnet.encoder import Encoder
from bench.contract import Weights
from bench.dims import CnnDims, DecoderDims, Dims, EncoderDims

LAYOUT = Layout(names={"norm": {"weight": "gamma", "bias": "beta"}})


KINDS: dict[type, Any] = {CnnDims: Cnn, EncoderDims: Encoder, DecoderDims: Decoder}


def make(dims: Dims) -> HybridBlock:
    made: HybridBlock = KINDS[type(dims)](dims)
    return made


def load_weights(block: HybridBlock, weights: Weights) -> None:
    """Copy the canonical weights in; ValueError names what does not fit."""
    block.initialize()
    # By structural name, as save_parameters writes them; there is no public way.
    own: dict[str, Parameter] = block._collect_params_with_prefix()  # noqa: SLF001  the only structural names
    tied = "head.weight"  # another name of the decoder's embeddings
    own = {k: v for k, v in own.items() if k != tied and not isinstance(v, Constant)}
    values = fill(weights, LAYOUT, into={name: one.shape for name, one in own.items()})
    for name, value in values.items():
        own[name].set_data(mx.nd.array(value, dtype=value.dtype))


def trained(block: HybridBlock) -> dict[str, Parameter]:
    """By name; BatchNorm's running statistics are parameters without a gradient."""
    return {k: v for k, v in block.collect_params().items() if v.grad_req != "null"}


def n_params(block: HybridBlock) -> int:
    """Trained numbers, of the arrays: a block that was read has no shapes."""
    return sum(one.data().size for one in trained(block).values())


def kept(block: HybridBlock) -> list[Parameter]:
    """The frozen ones, which only adapters leave so."""
    if not isinstance(block, Decoder):
        return []
    others = block.collect_params().values()
    return [one for one in others if one.grad_req == "null" and not isinstance(one, Constant)]
