"""The two networks as Gluon's users write them: the model zoo's ResNet, GluonNLP's BERT.

Every dense layer and convolution is told its input width, so no shape is deferred. Structural
names are the canonical ones. Initialisers are of no consequence: ``load_weights`` replaces every
value.
"""

from __future__ import annotations

from typing import Any

import mxnet as mx
from mxnet.gluon import HybridBlock, Parameter, nn

from backends.layouts import Layout, fill
from bench.contract import CnnDims, Dims, EncoderDims, Weights

LAYOUT = Layout(names={"norm": {"weight": "gamma", "bias": "beta"}})
MASKED = 1e9  # subtracted from a padded score: exp() of what is left is 0


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


def dense(inputs: int, outputs: int, **options: Any) -> nn.Dense:
    """A layer over the last axis; Gluon's default is to flatten the others."""
    return nn.Dense(outputs, in_units=inputs, flatten=False, **options)


def layer_norm(dims: EncoderDims) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=dims.ln_eps, in_channels=dims.width)


class Embeddings(HybridBlock):
    """Word, position and type vectors, summed and normalised; ids [B, S] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.word_embeddings = nn.Embedding(dims.vocab, dims.width)
            self.position_embeddings = nn.Embedding(dims.positions, dims.width)
            self.token_type_embeddings = nn.Embedding(dims.types, dims.width)
            self.LayerNorm = layer_norm(dims)

    def hybrid_forward(self, F: Any, ids: Any) -> Any:
        positions = F.contrib.arange_like(ids, axis=1)
        # Every token is of type 0, so one row serves all.
        types = self.token_type_embeddings(F.zeros_like(positions))
        others = self.position_embeddings(positions) + types
        words = self.word_embeddings(ids)
        return self.LayerNorm(F.broadcast_add(words, F.expand_dims(others, axis=0)))


class SelfAttention(HybridBlock):
    """Multi-head attention before its output projection; [B, S, W] -> [B, S, W].

    Shapes are written out but for the batch: the ONNX exporter knows neither -3 nor -4.
    """

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.heads, self.sequence = dims.heads, dims.sequence
        self.size = dims.width // dims.heads
        with self.name_scope():
            self.query = dense(dims.width, dims.width)
            self.key = dense(dims.width, dims.width)
            self.value = dense(dims.width, dims.width)

    def hybrid_forward(self, F: Any, x: Any, bias: Any) -> Any:
        layers = (self.query, self.key, self.value)
        query, key, value = (self.split(F, layer(x)) for layer in layers)
        scores = F.batch_dot(query * self.size**-0.5, key, transpose_b=True)
        scores = F.reshape(scores, (-1, self.heads, self.sequence, self.sequence))
        shares = F.softmax(F.broadcast_add(scores, bias), axis=-1)
        shares = F.reshape(shares, (-1, self.sequence, self.sequence))
        out = F.reshape(F.batch_dot(shares, value), (-1, self.heads, self.sequence, self.size))
        out = F.transpose(out, (0, 2, 1, 3))
        return F.reshape(out, (-1, self.sequence, self.heads * self.size))

    def split(self, F: Any, x: Any) -> Any:
        """[B, S, W] -> [B * heads, S, size]."""
        x = F.reshape(x, (-1, self.sequence, self.heads, self.size))
        return F.reshape(F.transpose(x, (0, 2, 1, 3)), (-1, self.sequence, self.size))


class Output(HybridBlock):
    """A projection, the residual and a post-LayerNorm; [B, S, inputs] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims, inputs: int) -> None:
        super().__init__()
        with self.name_scope():
            self.dense = dense(inputs, dims.width)
            self.LayerNorm = layer_norm(dims)

    def hybrid_forward(self, F: Any, x: Any, residual: Any) -> Any:
        return self.LayerNorm(self.dense(x) + residual)


class Attention(HybridBlock):
    """Self-attention with its projection and residual; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.self = SelfAttention(dims)
            self.output = Output(dims, dims.width)

    def hybrid_forward(self, F: Any, x: Any, bias: Any) -> Any:
        return self.output(self.self(x, bias), x)


class Intermediate(HybridBlock):
    """The widening half of the feed-forward; Gluon's GELU is erf; [B, S, W] -> [B, S, ffn]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.dense = dense(dims.width, dims.ffn)
            self.gelu = nn.GELU()

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.gelu(self.dense(x))


class Layer(HybridBlock):
    """One encoder layer, post-LayerNorm; [B, S, W] -> [B, S, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.attention = Attention(dims)
            self.intermediate = Intermediate(dims)
            self.output = Output(dims, dims.ffn)

    def hybrid_forward(self, F: Any, x: Any, bias: Any) -> Any:
        x = self.attention(x, bias)
        return self.output(self.intermediate(x), x)


class Layers(HybridBlock):
    """The stack, under BERT's name ``encoder.layer``."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.layer = sequential(*(Layer(dims) for _ in range(dims.layers)))

    def hybrid_forward(self, F: Any, x: Any, bias: Any) -> Any:
        for layer in self.layer:
            x = layer(x, bias)
        return x


class Pooler(HybridBlock):
    """tanh of a projected first token; [B, S, W] -> [B, W]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.dense = dense(dims.width, dims.width, activation="tanh")

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.dense(F.squeeze(F.slice_axis(x, axis=1, begin=0, end=1), axis=1))


class Encoder(HybridBlock):
    """BERT for classification; ids, mask [B, S], integers -> logits [B, classes]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        with self.name_scope():
            self.embeddings = Embeddings(dims)
            self.encoder = Layers(dims)
            self.pooler = Pooler(dims)
            self.classifier = dense(dims.width, dims.classes)

    def hybrid_forward(self, F: Any, ids: Any, mask: Any) -> Any:
        bias = (F.cast(mask, dtype="float32") - 1) * MASKED
        bias = F.expand_dims(F.expand_dims(bias, axis=1), axis=1)
        return self.classifier(self.pooler(self.encoder(self.embeddings(ids), bias)))


def make(dims: Dims) -> HybridBlock:
    return Cnn(dims) if isinstance(dims, CnnDims) else Encoder(dims)


def load_weights(block: HybridBlock, weights: Weights) -> None:
    """Copy the canonical weights in; ValueError names what does not fit."""
    block.initialize()
    # By structural name, as save_parameters writes them; there is no public way.
    own: dict[str, Parameter] = block._collect_params_with_prefix()  # noqa: SLF001  the only structural names
    values = fill(weights, LAYOUT, into={name: one.shape for name, one in own.items()})
    for name, value in values.items():
        own[name].set_data(mx.nd.array(value, dtype=value.dtype))
