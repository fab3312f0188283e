"""The CNN as Gluon's users write it: the model zoo's ResNet.

Every layer is told its input width, so no shape is deferred. Structural names are the canonical
ones.
"""

from __future__ import annotations

from typing import Any

from mxnet.gluon import HybridBlock, nn

from bench.dims import CnnDims


class BasicBlock(HybridBlock):
    """Two 3x3 convolutions and a shortcut; [B, C, H, W] -> [B, width, H/stride, W/stride]."""

    expansion = 1

    def __init__(self, dims: CnnDims, inputs: int, width: int, *, stride: int) -> None:
        super().__init__()
        with self.name_scope():
            self.conv1 = conv(inputs, width, kernel=3, stride=stride)
            self.bn1 = batch_norm(dims, width)
            self.conv2 = conv(width, width, kernel=3)
            self.bn2 = batch_norm(dims, width)
            self.relu = nn.Activation("relu")
            self.downsample = shortcut(dims, inputs, width, stride=stride)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        residual = x if self.downsample is None else self.downsample(x)
        x = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(x + residual)


class Bottleneck(HybridBlock):
    """1x1, 3x3, 1x1 and a shortcut; v1.5: the stride sits in the 3x3."""

    expansion = 4

    def __init__(self, dims: CnnDims, inputs: int, width: int, *, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        with self.name_scope():
            self.conv1 = conv(inputs, width, kernel=1)
            self.bn1 = batch_norm(dims, width)
            self.conv2 = conv(width, width, kernel=3, stride=stride)
            self.bn2 = batch_norm(dims, width)
            self.conv3 = conv(width, outputs, kernel=1)
            self.bn3 = batch_norm(dims, outputs)
            self.relu = nn.Activation("relu")
            self.downsample = shortcut(dims, inputs, outputs, stride=stride)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        residual = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(x)))))
        return self.relu(x + residual)


def conv(inputs: int, outputs: int, *, kernel: int, stride: int = 1) -> nn.Conv2D:
    """A convolution without bias that keeps the image's size at stride 1."""
    return nn.Conv2D(
        outputs, kernel, strides=stride, padding=kernel // 2, use_bias=False, in_channels=inputs
    )


def batch_norm(dims: CnnDims, width: int) -> nn.BatchNorm:
    """MXNet's momentum is the weight of the old statistics."""
    return nn.BatchNorm(momentum=1 - dims.bn_momentum, epsilon=dims.bn_eps, in_channels=width)


def shortcut(dims: CnnDims, inputs: int, width: int, *, stride: int) -> HybridBlock | None:
    """A strided 1x1 convolution where the shape changes, else nothing."""
    if stride == 1 and inputs == width:
        return None
    return sequential(conv(inputs, width, kernel=1, stride=stride), batch_norm(dims, width))


def sequential(*layers: HybridBlock) -> nn.HybridSequential:
    block = nn.HybridSequential()
    block.add(*layers)
    return block


class Cnn(HybridBlock):
    """A ResNet; image [B, C, H, W] -> logits [B, classes]."""

    def __init__(self, dims: CnnDims) -> None:
        super().__init__()
        block = Bottleneck if dims.bottleneck else BasicBlock
        inputs = dims.widths[0]
        large = dims.stem == "7x7"
        with self.name_scope():
            kernel, stride = (7, 2) if large else (3, 1)
            self.conv1 = conv(dims.channels, inputs, kernel=kernel, stride=stride)
            self.bn1 = batch_norm(dims, inputs)
            self.relu = nn.Activation("relu")
            self.maxpool = nn.MaxPool2D(3, strides=2, padding=1) if large else None
            self.stages = []
            for stage, (width, depth) in enumerate(zip(dims.widths, dims.blocks), start=1):
                layers = []
                for index in range(depth):
                    stride = 2 if stage > 1 and index == 0 else 1
                    layers.append(block(dims, inputs, width, stride=stride))
                    inputs = width * block.expansion
                self.stages.append(sequential(*layers))
                self.register_child(self.stages[-1], f"layer{stage}")
            self.avgpool = nn.GlobalAvgPool2D()
            self.fc = nn.Dense(dims.classes, in_units=inputs)

    def hybrid_forward(self, F: Any, image: Any) -> Any:
        x = self.relu(self.bn1(self.conv1(image)))
        x = x if self.maxpool is None else self.maxpool(x)
        for stage in self.stages:
            x = stage(x)
        return self.fc(self.avgpool(x))
