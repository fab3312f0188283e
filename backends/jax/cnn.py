"""The CNN as flax nnx's users write it: a ResNet over NHWC images.

Attributes carry the canonical weight names.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from backends.jax.parts import Parts, call
from bench.dims import CnnDims


def shorten(downsample: nnx.List | None, x: Array) -> Array:
    """The residual path of a block."""
    if downsample is None:
        return x
    conv, norm = downsample
    return norm(conv(x))


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions and a shortcut; [B, H, W, C] -> [B, H/stride, W/stride, width]."""

    expansion = 1

    def __init__(self, parts: Parts, inputs: int, width: int, *, stride: int) -> None:
        self.conv1 = parts.conv(inputs, width, size=3, stride=stride)
        self.bn1 = parts.batch_norm(width)
        self.conv2 = parts.conv(width, width, size=3)
        self.bn2 = parts.batch_norm(width)
        self.downsample = nnx.data(parts.shortcut(inputs, width, stride=stride))

    def __call__(self, x: Array) -> Array:
        out = nnx.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return nnx.relu(out + shorten(self.downsample, x))


class Bottleneck(nnx.Module):
    """1x1, 3x3, 1x1 and a shortcut; v1.5: the stride sits in the 3x3."""

    expansion = 4

    def __init__(self, parts: Parts, inputs: int, width: int, *, stride: int) -> None:
        outputs = width * self.expansion
        self.conv1 = parts.conv(inputs, width, size=1)
        self.bn1 = parts.batch_norm(width)
        self.conv2 = parts.conv(width, width, size=3, stride=stride)
        self.bn2 = parts.batch_norm(width)
        self.conv3 = parts.conv(width, outputs, size=1)
        self.bn3 = parts.batch_norm(outputs)
        self.downsample = nnx.data(parts.shortcut(inputs, outputs, stride=stride))

    def __call__(self, x: Array) -> Array:
        out = nnx.relu(self.bn1(self.conv1(x)))
        out = nnx.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return nnx.relu(out + shorten(self.downsample, x))


def max_pool(x: Array) -> Array:
    """3x3, stride 2, padded by one; [B, H, W, C] -> [B, H/2, W/2, C].

    Padded apart, because jax2onnx 0.17.1 loses the padding of ``nnx.max_pool``. XLA puts the two
    together again: minus infinity is what it would pad with.
    """
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    return nnx.max_pool(x, window_shape=(3, 3), strides=(2, 2))


class Cnn(nnx.Module):
    """A ResNet; image [B, H, W, C] -> logits [B, classes]. run: how a block is called."""

    run = staticmethod(call)

    def __init__(self, dims: CnnDims, *, dtype: Any) -> None:
        parts = Parts(dims, dtype)
        block = Bottleneck if dims.bottleneck else BasicBlock
        inputs = dims.widths[0]
        self.deep_stem = dims.stem == "7x7"
        if self.deep_stem:
            self.conv1 = parts.conv(dims.channels, inputs, size=7, stride=2)
        else:
            self.conv1 = parts.conv(dims.channels, inputs, size=3)
        self.bn1 = parts.batch_norm(inputs)
        self.stages = len(dims.widths)
        for stage, (width, depth) in enumerate(zip(dims.widths, dims.blocks), start=1):
            layers = []
            for index in range(depth):
                stride = 2 if stage > 1 and index == 0 else 1
                layers.append(block(parts, inputs, width, stride=stride))
                inputs = width * block.expansion
            setattr(self, f"layer{stage}", nnx.List(layers))
        self.fc = parts.linear(inputs, dims.classes)

    def __call__(self, image: Array) -> Array:
        x = nnx.relu(self.bn1(self.conv1(image)))
        if self.deep_stem:
            x = max_pool(x)
        for stage in range(1, self.stages + 1):
            for block in getattr(self, f"layer{stage}"):
                x = self.run(block, x)
        return self.fc(jnp.mean(x, axis=(1, 2)))
