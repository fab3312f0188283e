"""The two networks, and how the canonical weights get into them."""

from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, Tensor, nn

from backends.layouts import Layout, fill
from backends.mindspore.cnn import Cnn
from backends.mindspore.encoder import Encoder
from bench.contract import Weights
from bench.dims import CnnDims, Dims

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


def make(dims: Dims) -> nn.Cell:
    return Cnn(dims) if isinstance(dims, CnnDims) else Encoder(dims)


def load_weights(model: nn.Cell, weights: Weights) -> None:
    """Copy the canonical weights in. ValueError names what does not fit."""
    shapes = {name: parameter.shape for name, parameter in model.parameters_and_names()}
    arranged = fill(weights, LAYOUT, into=shapes)
    values = {name: Parameter(Tensor(value)) for name, value in arranged.items()}
    ms.load_param_into_net(model, values, strict_load=True)
