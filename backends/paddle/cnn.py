"""The CNN as Paddle's users write it: paddle.vision's ResNet.

Attributes carry the canonical weight names.
"""

from __future__ import annotations

import paddle
from paddle import Tensor, nn

from bench.dims import CnnDims


class BasicBlock(nn.Layer):
    """Two 3x3 convolutions and a shortcut; [B, C, H, W] -> [B, width, H/stride, W/stride]."""

    expansion = 1

    def __init__(self, dims: CnnDims, inputs: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, width, stride=stride)
        self.bn1 = batch_norm(dims, width)
        self.relu = nn.ReLU()
        self.conv2 = conv3x3(width, width)
        self.bn2 = batch_norm(dims, width)
        self.downsample = shortcut(dims, inputs, width, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class Bottleneck(nn.Layer):
    """1x1, 3x3, 1x1 and a shortcut; v1.5: the stride sits in the 3x3."""

    expansion = 4

    def __init__(self, dims: CnnDims, inputs: int, width: int, *, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2D(inputs, width, 1, bias_attr=False)
        self.bn1 = batch_norm(dims, width)
        self.conv2 = conv3x3(width, width, stride=stride)
        self.bn2 = batch_norm(dims, width)
        self.conv3 = nn.Conv2D(width, outputs, 1, bias_attr=False)
        self.bn3 = batch_norm(dims, outputs)
        self.relu = nn.ReLU()
        self.downsample = shortcut(dims, inputs, outputs, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += identity
        return self.relu(out)


def conv3x3(inputs: int, outputs: int, *, stride: int = 1) -> nn.Conv2D:
    return nn.Conv2D(inputs, outputs, 3, stride=stride, padding=1, bias_attr=False)


def batch_norm(dims: CnnDims, width: int) -> nn.BatchNorm2D:
    """Paddle's momentum is the weight of the old running value."""
    return nn.BatchNorm2D(width, momentum=1 - dims.bn_momentum, epsilon=dims.bn_eps)


def shortcut(dims: CnnDims, inputs: int, outputs: int, *, stride: int) -> nn.Sequential | None:
    """A strided 1x1 convolution where the shape changes, else nothing."""
    if stride == 1 and inputs == outputs:
        return None
    conv = nn.Conv2D(inputs, outputs, 1, stride=stride, bias_attr=False)
    return nn.Sequential(conv, batch_norm(dims, outputs))


class Cnn(nn.Layer):
    """A ResNet; image [B, C, H, W] -> logits [B, classes]."""

    def __init__(self, dims: CnnDims) -> None:
        super().__init__()
        block = Bottleneck if dims.bottleneck else BasicBlock
        width = dims.widths[0]
        if dims.stem == "7x7":
            self.conv1 = nn.Conv2D(dims.channels, width, 7, stride=2, padding=3, bias_attr=False)
            self.maxpool: nn.Layer = nn.MaxPool2D(kernel_size=3, stride=2, padding=1)
        else:
            self.conv1 = conv3x3(dims.channels, width)
            self.maxpool = nn.Identity()
        self.bn1 = batch_norm(dims, width)
        self.relu = nn.ReLU()
        inputs = width
        self.stages: list[str] = []
        for stage, (width, depth) in enumerate(zip(dims.widths, dims.blocks), start=1):
            layers = []
            for index in range(depth):
                stride = 2 if stage > 1 and index == 0 else 1
                layers.append(block(dims, inputs, width, stride=stride))
                inputs = width * block.expansion
            self.add_sublayer(f"layer{stage}", nn.Sequential(*layers))
            self.stages.append(f"layer{stage}")
        self.avgpool = nn.AdaptiveAvgPool2D((1, 1))
        self.fc = nn.Linear(inputs, dims.classes)

    def forward(self, image: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return self.fc(paddle.flatten(self.avgpool(x), 1))
