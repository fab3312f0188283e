"""The ResNet of flax's ImageNet example, in its shape: linen, SAME padding, one compact method.

Flax ships no models as a package, so the example's structure is written anew here. It runs as an
nnx module (``nnx.bridge``) in the adapter's own step. SAME pads a strided convolution on one side
only; a step costs the same.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx

from backends.jax.programs import Training
from bench.contract import Batches, Cell, Program
from bench.dims import CnnDims

MODELS = {"cnn": "flax examples/imagenet ResNet50"}
MISSING = {"transformer": "flax has no public encoder left: transformers dropped its own with 5.0"}


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a projected shortcut where the shape changes."""

    width: int
    stride: int
    conv: Any
    norm: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        strides = (self.stride, self.stride)
        y = nn.relu(self.norm()(self.conv(self.width, (1, 1))(x)))
        y = nn.relu(self.norm()(self.conv(self.width, (3, 3), strides)(y)))
        y = self.norm(scale_init=nn.initializers.zeros_init())(self.conv(self.width * 4, (1, 1))(y))
        if x.shape != y.shape:
            x = self.norm()(self.conv(self.width * 4, (1, 1), strides)(x))
        return nn.relu(x + y)


class ResNet(nn.Module):
    """image [B, H, W, C] -> logits [B, classes]."""

    dims: CnnDims

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        conv = partial(nn.Conv, use_bias=False)
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5)
        x = conv(self.dims.widths[0], (7, 7), (2, 2), padding=[(3, 3), (3, 3)])(x)
        x = nn.max_pool(nn.relu(norm()(x)), (3, 3), strides=(2, 2), padding="SAME")
        for stage, (width, depth) in enumerate(zip(self.dims.widths, self.dims.blocks)):
            for index in range(depth):
                stride = 2 if stage and not index else 1
                x = Bottleneck(width, stride, conv, norm)(x)
        return nn.Dense(self.dims.classes)(jnp.mean(x, axis=(1, 2)))


class Bridged(nnx.Module):
    """What the adapter's step calls: a module that knows whether it trains."""

    def __init__(self, dims: CnnDims) -> None:
        image = jnp.zeros((1, dims.image, dims.image, dims.channels))
        self.net = nnx.bridge.ToNNX(ResNet(dims), rngs=nnx.Rngs(0)).lazy_init(image, train=False)
        self.training = True

    def train(self, **_: Any) -> None:
        self.training = True

    def eval(self, **_: Any) -> None:
        self.training = False

    def __call__(self, image: jax.Array) -> jax.Array:
        return self.net(image, train=self.training, mutable=["batch_stats"])


def build(cell: Cell, batches: Batches) -> Program:
    """The public model at the cell's dimensions, in the adapter's own training loop."""
    assert isinstance(cell.dims, CnnDims)
    return Training(cell, Bridged(cell.dims), batches)
