"""The two networks as MindSpore's users write them: ``nn.Cell`` with ``construct``.

The ResNet follows MindSpore's own (``resnet50`` of its tutorials), the encoder its BERT. Attribute
names are the canonical ones, so that ``LAYOUT`` is all there is to loading weights.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from backends.layouts import Layout, fill
from bench.contract import CnnDims, Dims, EncoderDims, Weights

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
MASKED = -10000.0  # added to the scores of padding, as MindSpore's BERT does: exp gives exactly 0


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


class Embeddings(nn.Cell):
    """Word, position and type vectors, summed and normalised; ids [B, S] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(dims.vocab, dims.width)
        self.position_embeddings = nn.Embedding(dims.positions, dims.width)
        self.token_type_embeddings = nn.Embedding(dims.types, dims.width)
        self.LayerNorm = layer_norm(dims)

    def construct(self, ids: Tensor) -> Tensor:
        positions = ops.arange(ids.shape[1])
        # Every token is of type 0, so one row serves all.
        types = self.token_type_embeddings(ops.zeros_like(positions))
        words = self.word_embeddings(ids)
        return self.LayerNorm(words + (self.position_embeddings(positions) + types))


class SelfAttention(nn.Cell):
    """Multi-head attention before its output projection; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.heads = dims.heads
        self.size = dims.width // dims.heads
        self.scale = self.size**-0.5
        self.query = nn.Dense(dims.width, dims.width)
        self.key = nn.Dense(dims.width, dims.width)
        self.value = nn.Dense(dims.width, dims.width)
        self.scores = ops.BatchMatMul(transpose_b=True)
        self.mix = ops.BatchMatMul()

    def split(self, x: Tensor) -> Tensor:
        """[B, S, W] -> [B, heads, S, W / heads]."""
        return x.reshape(-1, x.shape[1], self.heads, self.size).transpose(0, 2, 1, 3)

    def construct(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = self.split(self.query(x)), self.split(self.key(x)), self.value(x)
        weights = ops.softmax(self.scores(query, key) * self.scale + mask, -1)
        mixed = self.mix(weights, self.split(value)).transpose(0, 2, 1, 3)
        return mixed.reshape(-1, x.shape[1], x.shape[2])


class Output(nn.Cell):
    """A projection, the residual and a post-LayerNorm; [B, S, inputs] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims, inputs: int) -> None:
        super().__init__()
        self.dense = nn.Dense(inputs, dims.width)
        self.LayerNorm = layer_norm(dims)

    def construct(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(x) + residual)


class Attention(nn.Cell):
    """Self-attention with its projection and residual; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.self = SelfAttention(dims)
        self.output = Output(dims, dims.width)

    def construct(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.output(self.self(x, mask), x)


class Intermediate(nn.Cell):
    """The widening half of the feed-forward; erf GELU; [B, S, W] -> [B, S, ffn]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.dense = nn.Dense(dims.width, dims.ffn)
        self.gelu = nn.GELU(approximate=False)

    def construct(self, x: Tensor) -> Tensor:
        return self.gelu(self.dense(x))


class Layer(nn.Cell):
    """One encoder layer, post-LayerNorm; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.attention = Attention(dims)
        self.intermediate = Intermediate(dims)
        self.output = Output(dims, dims.ffn)

    def construct(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class Layers(nn.Cell):
    """The stack, under BERT's name ``encoder.layer``."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.layer = nn.CellList([Layer(dims) for _ in range(dims.layers)])

    def construct(self, x: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layer:
            x = layer(x, mask)
        return x


class Pooler(nn.Cell):
    """tanh of a projected first token; [B, S, W] -> [B, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.dense = nn.Dense(dims.width, dims.width)

    def construct(self, x: Tensor) -> Tensor:
        return ops.tanh(self.dense(x[:, 0]))


class Encoder(nn.Cell):
    """BERT for classification; ids, mask [B, S] -> logits [B, classes]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.embeddings = Embeddings(dims)
        self.encoder = Layers(dims)
        self.pooler = Pooler(dims)
        self.classifier = nn.Dense(dims.width, dims.classes)

    def construct(self, ids: Tensor, mask: Tensor) -> Tensor:
        padding = 1.0 - mask.astype(ms.float32)
        # Over heads and query positions; -1, so that no exported graph holds a batch.
        added = padding.reshape(-1, 1, 1, mask.shape[1]) * MASKED
        return self.classifier(self.pooler(self.encoder(self.embeddings(ids), added)))


def layer_norm(dims: EncoderDims) -> nn.LayerNorm:
    return nn.LayerNorm((dims.width,), epsilon=dims.ln_eps)


def make(dims: Dims) -> nn.Cell:
    return Cnn(dims) if isinstance(dims, CnnDims) else Encoder(dims)


def load_weights(model: nn.Cell, weights: Weights) -> None:
    """Copy the canonical weights in. ValueError names what does not fit."""
    shapes = {name: parameter.shape for name, parameter in model.parameters_and_names()}
    arranged = fill(weights, LAYOUT, into=shapes)
    values = {name: Parameter(Tensor(value)) for name, value in arranged.items()}
    ms.load_param_into_net(model, values, strict_load=True)
