"""The networks, and how the canonical weights get into them.

Initialisers are Paddle's own and of no consequence: ``load_weights`` replaces every value.
"""

from __future__ import annotations

from typing import Any

from paddle import Tensor, nn

from backends.layouts import Layout, fill
from backends.paddle.cnn import Cnn
from backends.paddle.decoder import Decoder
from backends.paddle.encoder import Encoder
from bench.contract import Weights
from bench.dims import CnnDims, DecoderDims, Dims, EncoderDims

RUNNING = {"running_mean": "_mean", "running_var": "_variance"}
LAYOUT = Layout(dense=(1, 0), names={"norm": RUNNING})


KINDS: dict[type, Any] = {CnnDims: Cnn, EncoderDims: Encoder, DecoderDims: Decoder}


def make(dims: Dims) -> nn.Layer:
    made: nn.Layer = KINDS[type(dims)](dims)
    return made


def trained(model: nn.Layer) -> list[Tensor]:
    """All but frozen parameters, and BatchNorm's running values, which Paddle counts among them."""
    return [parameter for parameter in model.parameters() if not parameter.stop_gradient]


def kept(model: nn.Layer) -> list[Tensor]:
    """The frozen ones."""
    running = tuple(RUNNING.values())
    return [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.stop_gradient and not name.endswith(running)
    ]


def load_weights(model: nn.Layer, weights: Weights) -> None:
    """Copy the canonical weights in; ValueError names what does not fit."""
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.set_state_dict(fill(weights, LAYOUT, into=shapes))
