"""The two networks as Paddle's users write them: paddle.vision's ResNet, PaddleNLP's BERT.

Attributes carry the canonical names, so ``LAYOUT`` says all that differs from the weight file.
Initialisers are Paddle's own and of no consequence: ``load_weights`` replaces every value.
"""

from __future__ import annotations

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from backends import layouts
from backends.layouts import Layout
from bench.contract import CnnDims, Dims, EncoderDims, Weights

LAYOUT = Layout(
    dense=(1, 0),
    names={"norm": {"running_mean": "_mean", "running_var": "_variance"}},
)


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


class Embeddings(nn.Layer):
    """Word, position and type vectors, summed and normalised; ids [B, S] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(dims.vocab, dims.width)
        self.position_embeddings = nn.Embedding(dims.positions, dims.width)
        self.token_type_embeddings = nn.Embedding(dims.types, dims.width)
        self.LayerNorm = nn.LayerNorm(dims.width, epsilon=dims.ln_eps)

    def forward(self, ids: Tensor) -> Tensor:
        positions = paddle.arange(ids.shape[1], dtype="int64")
        # Every token is of type 0, so one row serves all.
        types = self.token_type_embeddings(paddle.zeros_like(positions))
        words = self.word_embeddings(ids)
        return self.LayerNorm(words + (self.position_embeddings(positions) + types))


class SelfAttention(nn.Layer):
    """Multi-head attention before its output projection; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.heads = dims.heads
        self.head_width = dims.width // dims.heads
        self.query = nn.Linear(dims.width, dims.width)
        self.key = nn.Linear(dims.width, dims.width)
        self.value = nn.Linear(dims.width, dims.width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        # [B, S, heads, head]: Paddle's own order, unlike PyTorch's. A 0 keeps that dimension.
        shape = [0, 0, self.heads, self.head_width]
        query, key, value = (
            self.query(x).reshape(shape),
            self.key(x).reshape(shape),
            self.value(x).reshape(shape),
        )
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return out.reshape([0, 0, self.heads * self.head_width])


class Output(nn.Layer):
    """A projection, the residual and a post-LayerNorm; [B, S, inputs] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims, inputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, dims.width)
        self.LayerNorm = nn.LayerNorm(dims.width, epsilon=dims.ln_eps)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(x) + residual)


class Attention(nn.Layer):
    """Self-attention with its projection and residual; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.self = SelfAttention(dims)
        self.output = Output(dims, dims.width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.output(self.self(x, mask), x)


class Intermediate(nn.Layer):
    """The widening half of the feed-forward; erf GELU; [B, S, W] -> [B, S, ffn]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.dense = nn.Linear(dims.width, dims.ffn)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.dense(x))


class EncoderLayer(nn.Layer):
    """One encoder layer, post-LayerNorm; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.attention = Attention(dims)
        self.intermediate = Intermediate(dims)
        self.output = Output(dims, dims.ffn)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class Layers(nn.Layer):
    """The stack, under BERT's name ``encoder.layer``."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.layer = nn.LayerList([EncoderLayer(dims) for _ in range(dims.layers)])

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layer:
            x = layer(x, mask)
        return x


class Pooler(nn.Layer):
    """tanh of a projected first token; [B, S, W] -> [B, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.dense = nn.Linear(dims.width, dims.width)

    def forward(self, x: Tensor) -> Tensor:
        return paddle.tanh(self.dense(x[:, 0]))


class Encoder(nn.Layer):
    """BERT for classification; ids, mask [B, S] -> logits [B, classes]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.embeddings = Embeddings(dims)
        self.encoder = Layers(dims)
        self.pooler = Pooler(dims)
        self.classifier = nn.Linear(dims.width, dims.classes)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        # Added to the scores, as PaddleNLP's BERT does: a bool mask is converted in every layer.
        hidden = (1.0 - mask.astype("float32")).unsqueeze([1, 2]) * -1e4
        return self.classifier(self.pooler(self.encoder(self.embeddings(ids), hidden)))


def make(dims: Dims) -> nn.Layer:
    return Cnn(dims) if isinstance(dims, CnnDims) else Encoder(dims)


def load_weights(model: nn.Layer, weights: Weights) -> None:
    """Copy the canonical weights in; ValueError names what does not fit."""
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.set_state_dict(layouts.fill(weights, LAYOUT, into=shapes))
