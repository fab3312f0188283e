"""The networks, and how the canonical weights get into them."""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import Parameter, Tensor, nn

from backends.layouts import Layout, fill
from backends.mindspore.cnn import Cnn
from backends.mindspore.decoder import Decoder
from backends.mindspore.encoder import Encoder
from bench.contract import Weights
from bench.dims import CnnDims, DecoderDims, Dims, EncoderDims

LAYOUT = Layout(
    names={
        "norm": {
            "weight": "gamma",
            "bias": "beta",
            "running_mean": "moving_mean",
            "running_var": "moving_variance",
        },
        "embedding": {"weight": "embedding_table"},
    }
)

STATISTICS = ("moving_mean", "moving_variance")

KINDS: dict[type, Any] = {CnnDims: Cnn, EncoderDims: Encoder, DecoderDims: Decoder}


def make(dims: Dims) -> nn.Cell:
    made: nn.Cell = KINDS[type(dims)](dims)
    return made


def kept(model: nn.Cell) -> list[Parameter]:
    """The frozen ones; BatchNorm's running statistics are no more trained, but they change."""
    return [one for one in model.untrainable_params() if not one.name.endswith(STATISTICS)]


def load_weights(model: nn.Cell, weights: Weights) -> None:
    """Copy the canonical weights in. ValueError names what does not fit."""
    shapes = {name: parameter.shape for name, parameter in model.parameters_and_names()}
    arranged = fill(weights, LAYOUT, into=shapes)
    values = {name: Parameter(Tensor(value)) for name, value in arranged.items()}
    ms.load_param_into_net(model, values, strict_load=True)
