"""The two networks as flax nnx's users write them: a ResNet over NHWC images, and BERT.

Attributes carry the canonical weight names, so ``LAYOUT`` is all that separates the two. Nothing
is initialised: the weight file replaces every value (``make``).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from backends.layouts import Layout, fill
from bench.contract import CnnDims, Dims, EncoderDims, Weights

LAYOUT = Layout(
    conv=(2, 3, 1, 0),
    dense=(1, 0),
    names={
        "conv": {"weight": "kernel"},
        "dense": {"weight": "kernel"},
        "embedding": {"weight": "embedding"},
        "norm": {"weight": "scale", "running_mean": "mean", "running_var": "var"},
    },
)
"""Flax keeps kernels as HWIO and (in, out)."""


class Parts:
    """Makes a network's layers in one compute type; their parameters are float32.

    dtype: flax's ``dtype``, what the layers cast their inputs and parameters to; None: float32.
    """

    def __init__(self, dims: Any, dtype: Any) -> None:
        self.dims = dims
        self.types: dict[str, Any] = {"dtype": dtype, "param_dtype": jnp.float32}
        self.types["rngs"] = nnx.Rngs(0)  # its values are never computed

    def conv(self, inputs: int, outputs: int, *, size: int, stride: int = 1) -> nnx.Conv:
        """Padded on both sides alike: "SAME" would pad a strided one only behind."""
        return nnx.Conv(
            inputs,
            outputs,
            kernel_size=(size, size),
            strides=stride,
            padding=size // 2,
            use_bias=False,
            **self.types,
        )

    def batch_norm(self, width: int) -> nnx.BatchNorm:
        """Flax's momentum is the weight of the old average."""
        momentum = 1 - self.dims.bn_momentum
        return nnx.BatchNorm(width, momentum=momentum, epsilon=self.dims.bn_eps, **self.types)

    def shortcut(self, inputs: int, width: int, *, stride: int) -> nnx.List | None:
        """A strided 1x1 convolution and its norm where the shape changes, else nothing."""
        if stride == 1 and inputs == width:
            return None
        conv = self.conv(inputs, width, size=1, stride=stride)
        return nnx.List([conv, self.batch_norm(width)])

    def linear(self, inputs: int, outputs: int) -> nnx.Linear:
        return nnx.Linear(inputs, outputs, **self.types)

    def embed(self, rows: int) -> nnx.Embed:
        return nnx.Embed(rows, self.dims.width, **self.types)

    def layer_norm(self) -> nnx.LayerNorm:
        return nnx.LayerNorm(self.dims.width, epsilon=self.dims.ln_eps, **self.types)


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
    """A ResNet; image [B, H, W, C] -> logits [B, classes]."""

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
                x = block(x)
        return self.fc(jnp.mean(x, axis=(1, 2)))


class Embeddings(nnx.Module):
    """Word, position and type vectors, summed and normalised; ids [B, S] -> [B, S, W]."""

    def __init__(self, parts: Parts) -> None:
        self.word_embeddings = parts.embed(parts.dims.vocab)
        self.position_embeddings = parts.embed(parts.dims.positions)
        self.token_type_embeddings = parts.embed(parts.dims.types)
        self.LayerNorm = parts.layer_norm()

    def __call__(self, ids: Array) -> Array:
        positions = jnp.arange(ids.shape[1])
        # Every token is of type 0, so one row serves all.
        types = self.token_type_embeddings(jnp.zeros_like(positions))
        words = self.word_embeddings(ids)
        return self.LayerNorm(words + (self.position_embeddings(positions) + types))


class SelfAttention(nnx.Module):
    """Multi-head attention before its output projection; [B, S, W] -> [B, S, W]."""

    def __init__(self, parts: Parts) -> None:
        width = parts.dims.width
        self.heads = parts.dims.heads
        self.query = parts.linear(width, width)
        self.key = parts.linear(width, width)
        self.value = parts.linear(width, width)

    def __call__(self, x: Array, mask: Array) -> Array:
        query, key, value = (
            layer(x).reshape(*x.shape[:2], self.heads, -1)
            for layer in (self.query, self.key, self.value)
        )
        return jax.nn.dot_product_attention(query, key, value, mask=mask).reshape(x.shape)


class Output(nnx.Module):
    """A projection, the residual and a post-LayerNorm; [B, S, inputs] -> [B, S, W]."""

    def __init__(self, parts: Parts, inputs: int) -> None:
        self.dense = parts.linear(inputs, parts.dims.width)
        self.LayerNorm = parts.layer_norm()

    def __call__(self, x: Array, residual: Array) -> Array:
        return self.LayerNorm(self.dense(x) + residual)


class Attention(nnx.Module):
    """Self-attention with its projection and residual; [B, S, W] -> [B, S, W]."""

    def __init__(self, parts: Parts) -> None:
        self.self = SelfAttention(parts)
        self.output = Output(parts, parts.dims.width)

    def __call__(self, x: Array, mask: Array) -> Array:
        return self.output(self.self(x, mask), x)


class Intermediate(nnx.Module):
    """The widening half of the feed-forward; erf GELU; [B, S, W] -> [B, S, ffn]."""

    def __init__(self, parts: Parts) -> None:
        self.dense = parts.linear(parts.dims.width, parts.dims.ffn)

    def __call__(self, x: Array) -> Array:
        return nnx.gelu(self.dense(x), approximate=False)


class Layer(nnx.Module):
    """One encoder layer, post-LayerNorm; [B, S, W] -> [B, S, W]."""

    def __init__(self, parts: Parts) -> None:
        self.attention = Attention(parts)
        self.intermediate = Intermediate(parts)
        self.output = Output(parts, parts.dims.ffn)

    def __call__(self, x: Array, mask: Array) -> Array:
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class Layers(nnx.Module):
    """The stack, under BERT's name ``encoder.layer``."""

    def __init__(self, parts: Parts) -> None:
        self.layer = nnx.List([Layer(parts) for _ in range(parts.dims.layers)])

    def __call__(self, x: Array, mask: Array) -> Array:
        for layer in self.layer:
            x = layer(x, mask)
        return x


class Pooler(nnx.Module):
    """tanh of a projected first token; [B, S, W] -> [B, W]."""

    def __init__(self, parts: Parts) -> None:
        self.dense = parts.linear(parts.dims.width, parts.dims.width)

    def __call__(self, x: Array) -> Array:
        return nnx.tanh(self.dense(x[:, 0]))


class Encoder(nnx.Module):
    """BERT for classification; ids, mask [B, S] -> logits [B, classes]."""

    def __init__(self, dims: EncoderDims, *, dtype: Any) -> None:
        parts = Parts(dims, dtype)
        self.embeddings = Embeddings(parts)
        self.encoder = Layers(parts)
        self.pooler = Pooler(parts)
        self.classifier = parts.linear(dims.width, dims.classes)

    def __call__(self, ids: Array, mask: Array) -> Array:
        real = mask.astype(bool)[:, None, None, :]  # broadcast over heads and query positions
        return self.classifier(self.pooler(self.encoder(self.embeddings(ids), real)))


def make(dims: Dims, weights: Weights, *, dtype: Any = None) -> nnx.Module:
    """The model with these weights on the default device; ValueError names what does not fit.

    dtype: the compute type; None: float32.
    """
    kind: Any = Cnn if isinstance(dims, CnnDims) else Encoder
    # Traced, not run: initialisers run one by one would each be compiled, 14 s and more in all.
    graph, state = nnx.split(nnx.eval_shape(lambda: kind(dims, dtype=dtype)))
    variables = {".".join(map(str, path)): one for path, one in nnx.to_flat_state(state)}
    shapes = {name: one.get_value().shape for name, one in variables.items()}
    for name, value in fill(weights, LAYOUT, into=shapes).items():
        # Copied: XLA may use a numpy array where it lies, and could not donate its memory then.
        variables[name].set_value(jnp.array(value))
    return nnx.merge(graph, state)
