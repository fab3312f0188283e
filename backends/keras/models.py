"""The two networks as Keras's users write them: functional models of stock layers, channels last.

Of stock layers only, so that a ``.keras`` file of them loads in safe mode without custom objects.
They run under each of Keras's engines. Layers carry the canonical names, with dashes for dots,
which torch's modules forbid. Initialisers are Keras's own and of no consequence, because
``load_weights`` replaces every value.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from backends.keras import attention
from backends.keras.recompute import Around, plain
from backends.layouts import Layout, fill
from bench.contract import CnnDims, Dims, EncoderDims, Weights

Tensor = Any  # a KerasTensor while a model is described

NORM = {"weight": "gamma", "bias": "beta"}
MOVING = {"running_mean": "moving_mean", "running_var": "moving_variance"}
LAYOUT = Layout(
    conv=(2, 3, 1, 0),
    dense=(1, 0),
    names={
        "conv": {"weight": "kernel"},
        "norm": {**NORM, **MOVING},
        "embedding": {"weight": "embeddings"},
        "dense": {"weight": "kernel"},
    },
)


def make(dims: Dims, *, square: bool = False, around: Around = plain) -> keras.Model:
    """Image [B, H, W, C], or ids and mask int32 [B, S] -> logits [B, classes], float32.

    square: the mask becomes one of each query, [B, S, S]. around: what to put around each encoder
    layer and each residual block.
    """
    if isinstance(dims, CnnDims):
        return cnn(dims, around=around)
    return encoder(dims, length=dims.sequence, square=square, around=around)


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


def classify(x: Tensor, classes: int, name: str) -> Tensor:
    """Logits in float32 whatever the policy, as Keras's guide to mixed precision has it."""
    logits = layers.Dense(classes, name=name)(x)
    return layers.Activation("linear", dtype="float32", name="logits")(logits)


def encoder(
    dims: EncoderDims, *, length: int | None, square: bool = False, around: Around = plain
) -> keras.Model:
    """length: tokens of a sample; None: of any number."""
    ids = keras.Input((length,), dtype="int32", name="ids")
    mask = keras.Input((length,), dtype="int32", name="mask")
    x = embed(ids, dims)
    real = attention.real(mask, square=square)
    for index in range(dims.layers):
        x = around(partial(layer, dims=dims, name=f"encoder-layer-{index}"))(x, real)
    x = layers.Dense(dims.width, activation="tanh", name="pooler-dense")(x[:, 0])
    return keras.Model([ids, mask], classify(x, dims.classes, "classifier"), name="encoder")


def embed(ids: Tensor, dims: EncoderDims) -> Tensor:
    """Word, position and type vectors, summed and normalised; [B, S] -> [B, S, W]."""
    # One row serves all samples: positions 0, 1, ..., and every token is of type 0.
    types = ops.zeros_like(ids[0])
    positions = ops.cumsum(ops.ones_like(types)) - 1
    tables = {"word": (dims.vocab, ids), "position": (dims.positions, positions)}
    tables["token_type"] = (dims.types, types)
    words, places, kinds = (
        layers.Embedding(rows, dims.width, name=f"embeddings-{name}_embeddings")(index)
        for name, (rows, index) in tables.items()
    )
    return normalise(words + (places + kinds), dims, "embeddings-LayerNorm")


def layer(x: Tensor, real: Tensor, dims: EncoderDims, name: str) -> Tensor:
    """One encoder layer, post-LayerNorm; [B, S, W] -> [B, S, W]."""
    attention = layers.MultiHeadAttention(
        dims.heads, dims.width // dims.heads, name=f"{name}-attention-self"
    )
    x = layers.add([attention(x, x, attention_mask=real), x])
    x = normalise(x, dims, f"{name}-attention-output-LayerNorm")
    wide = layers.Dense(dims.ffn, activation="gelu", name=f"{name}-intermediate-dense")(x)
    x = layers.add([layers.Dense(dims.width, name=f"{name}-output-dense")(wide), x])
    return normalise(x, dims, f"{name}-output-LayerNorm")


def normalise(x: Tensor, dims: EncoderDims, name: str) -> Tensor:
    return layers.LayerNormalization(epsilon=dims.ln_eps, name=name)(x)


def load_weights(model: keras.Model, weights: Weights) -> None:
    """Assign the canonical weights; ValueError names what does not fit."""
    variables = {canonical(variable): variable for variable in model.variables}
    shapes = {name: flat(name, variable.shape) for name, variable in variables.items()}
    for name, value in fill(weights, LAYOUT, into=shapes).items():
        variables[name].assign(value.reshape(variables[name].shape))


def canonical(variable: keras.Variable) -> str:
    """A variable's path, with dots. Keras keeps the projection behind attention in its layer."""
    path = variable.path.replace("/", ".").replace("-", ".")
    return path.replace(".self.attention_output.", ".output.dense.")


def flat(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without heads: Keras splits attention's widths into (heads, width of a head)."""
    if ".attention.self." in name:
        return (*shape[:-2], shape[-2] * shape[-1])
    if name.endswith(".attention.output.dense.kernel"):
        return (shape[0] * shape[1], shape[2])
    return tuple(shape)


def count(model: keras.Model) -> int:
    """Trained parameters; BatchNorm's running figures are none."""
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def forget() -> None:
    """Drop what Keras remembers of closed models, but not what is set for those to come."""
    policy, distribution = keras.config.dtype_policy(), keras.distribution.distribution()
    keras.backend.clear_session()
    keras.config.set_dtype_policy(policy)
    keras.distribution.set_distribution(distribution)
