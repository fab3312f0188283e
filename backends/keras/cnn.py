"""The CNN as Keras's users write it: a functional model of stock layers, channels last."""

from __future__ import annotations

from functools import partial

import keras
from keras import layers

from backends.keras.parts import Tensor, classify
from backends.keras.recompute import Around, plain
from bench.dims import CnnDims


def cnn(dims: CnnDims, *, around: Around = plain) -> keras.Model:
    image = keras.Input((dims.image, dims.image, dims.channels), name="image")
    width = dims.widths[0]
    if dims.stem == "7x7":
        x = conv(image, width, 7, name="conv1", stride=2)
        x = relu(norm(x, dims, "bn1"))
        # What is pooled is not negative, so zeros pad as well as the lowest number.
        x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(x))
    else:
        x = relu(norm(conv(image, width, 3, name="conv1"), dims, "bn1"))
    block = bottleneck if dims.bottleneck else basic
    for stage, (width, depth) in enumerate(zip(dims.widths, dims.blocks), start=1):
        for index in range(depth):
            stride = 2 if stage > 1 and index == 0 else 1
            how = {"name": f"layer{stage}-{index}", "stride": stride}
            x = around(partial(block, dims=dims, width=width, **how))(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, classify(x, dims.classes, "fc"), name="cnn")


def basic(x: Tensor, dims: CnnDims, width: int, *, name: str, stride: int) -> Tensor:
    """Two 3x3 convolutions and a shortcut."""
    identity = shortcut(x, dims, width, name=name, stride=stride)
    x = relu(norm(conv(x, width, 3, name=f"{name}-conv1", stride=stride), dims, f"{name}-bn1"))
    x = norm(conv(x, width, 3, name=f"{name}-conv2"), dims, f"{name}-bn2")
    return relu(layers.add([x, identity]))


def bottleneck(x: Tensor, dims: CnnDims, width: int, *, name: str, stride: int) -> Tensor:
    """1x1, 3x3, 1x1 and a shortcut; v1.5: the stride sits in the 3x3."""
    outputs = 4 * width
    identity = shortcut(x, dims, outputs, name=name, stride=stride)
    x = relu(norm(conv(x, width, 1, name=f"{name}-conv1"), dims, f"{name}-bn1"))
    x = relu(norm(conv(x, width, 3, name=f"{name}-conv2", stride=stride), dims, f"{name}-bn2"))
    x = norm(conv(x, outputs, 1, name=f"{name}-conv3"), dims, f"{name}-bn3")
    return relu(layers.add([x, identity]))


def shortcut(x: Tensor, dims: CnnDims, outputs: int, *, name: str, stride: int) -> Tensor:
    """A strided 1x1 convolution where the shape changes, else nothing."""
    if stride == 1 and x.shape[-1] == outputs:
        return x
    x = conv(x, outputs, 1, name=f"{name}-downsample-0", stride=stride)
    return norm(x, dims, f"{name}-downsample-1")


def conv(x: Tensor, width: int, kernel: int, *, name: str, stride: int = 1) -> Tensor:
    """Padded alike on both sides; "same" pads a strided convolution on one side only."""
    padding = "same"
    if stride > 1:
        padding = "valid"
        x = layers.ZeroPadding2D(kernel // 2)(x) if kernel > 1 else x
    made = layers.Conv2D(width, kernel, stride, padding, use_bias=False, name=name)
    return made(x)


def norm(x: Tensor, dims: CnnDims, name: str) -> Tensor:
    """Keras's momentum is the weight of the old average, PyTorch's of the new batch."""
    made = layers.BatchNormalization(momentum=1 - dims.bn_momentum, epsilon=dims.bn_eps, name=name)
    return made(x)


def relu(x: Tensor) -> Tensor:
    return layers.ReLU()(x)
