"""The CNN as MindSpore's users write it: ``resnet50`` of its tutorials.

Attributes carry the canonical weight names.
"""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from bench.dims import CnnDims


class BasicBlock(nn.Cell):
    """Two 3x3 convolutions and a shortcut; [B, C, H, W] -> [B, width, H/stride, W/stride]."""

    expansion = 1

    def __init__(self, dims: CnnDims, inputs: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = conv(inputs, width, 3, stride=stride)
        self.bn1 = batch_norm(dims, width)
        self.relu = nn.ReLU()
        self.conv2 = conv(width, width, 3)
        self.bn2 = batch_norm(dims, width)
        self.downsample = shortcut(dims, inputs, width, stride=stride)

    def construct(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + identity)


class Bottleneck(nn.Cell):
    """1x1, 3x3, 1x1 and a shortcut; v1.5: the stride sits in the 3x3."""

    expansion = 4

    def __init__(self, dims: CnnDims, inputs: int, width: int, *, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = conv(inputs, width, 1)
        self.bn1 = batch_norm(dims, width)
        self.conv2 = conv(width, width, 3, stride=stride)
        self.bn2 = batch_norm(dims, width)
        self.conv3 = conv(width, outputs, 1)
        self.bn3 = batch_norm(dims, outputs)
        self.relu = nn.ReLU()
        self.downsample = shortcut(dims, inputs, outputs, stride=stride)

    def construct(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + identity)


def conv(inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> nn.Conv2d:
    """Padded by half the kernel on every side; MindSpore's own default pads like TensorFlow."""
    return nn.Conv2d(
        inputs, outputs, kernel, stride, pad_mode="pad", padding=kernel // 2, has_bias=False
    )


def batch_norm(dims: CnnDims, width: int) -> nn.BatchNorm2d:
    # MindSpore's momentum is the weight of the old average.
    return nn.BatchNorm2d(width, eps=dims.bn_eps, momentum=1.0 - dims.bn_momentum)


def shortcut(dims: CnnDims, inputs: int, outputs: int, *, stride: int) -> nn.SequentialCell | None:
    """A strided 1x1 convolution where the shape changes, else nothing."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.SequentialCell(conv(inputs, outputs, 1, stride=stride), batch_norm(dims, outputs))


class Cnn(nn.Cell):
    """A ResNet; image [B, C, H, W] -> logits [B, classes]."""

    def __init__(self, dims: CnnDims) -> None:
        super().__init__()
        block = Bottleneck if dims.bottleneck else BasicBlock
        width = dims.widths[0]
        if dims.stem == "7x7":
            self.conv1 = conv(dims.channels, width, 7, stride=2)
            self.maxpool: nn.Cell = nn.MaxPool2d(3, 2, pad_mode="pad", padding=1)
        else:
            self.conv1 = conv(dims.channels, width, 3)
            self.maxpool = nn.Identity()
        self.bn1 = batch_norm(dims, width)
        self.relu = nn.ReLU()
        inputs = width
        self.stages = tuple(f"layer{stage}" for stage in range(1, len(dims.widths) + 1))
        for stage, width, depth in zip(self.stages, dims.widths, dims.blocks):
            layers = []
            for index in range(depth):
                stride = 2 if stage != "layer1" and index == 0 else 1
                layers.append(block(dims, inputs, width, stride=stride))
                inputs = width * block.expansion
            setattr(self, stage, nn.SequentialCell(*layers))
        self.fc = nn.Dense(inputs, dims.classes)

    def construct(self, image: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return self.fc(ops.mean(x, (2, 3)))
