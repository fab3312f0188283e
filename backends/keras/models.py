"""The two networks as Keras's users write them: functional models of stock layers.

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

from backends.keras.cnn import classify, cnn
from backends.keras.recompute import Around, plain
from backends.layouts import Layout, fill
from bench.contract import CnnDims, Dims, EncoderDims, Settings, Weights

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


def make(dims: Dims, *, around: Around = plain) -> keras.Model:
    """Image [B, H, W, C], or ids and mask int32 [B, S] -> logits [B, classes], float32.

    around: what to put around each encoder layer and each residual block.
    """
    if isinstance(dims, CnnDims):
        return cnn(dims, around=around)
    return encoder(dims, length=dims.sequence, around=around)


def encoder(dims: EncoderDims, *, length: int | None, around: Around = plain) -> keras.Model:
    """length: tokens of a sample; None: of any number."""
    ids = keras.Input((length,), dtype="int32", name="ids")
    mask = keras.Input((length,), dtype="int32", name="mask")
    x = embed(ids, dims)
    real = ops.expand_dims(ops.cast(mask, "bool"), 1)  # broadcast over query positions
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


def layout(model: Any) -> Settings:
    """Where the first convolution has its channels; nothing for a model without one."""
    convolutions = (one for one in getattr(model, "layers", ()) if isinstance(one, layers.Conv2D))
    first = next(convolutions, None)
    return {} if first is None else {"data_format": first.data_format}


def forget() -> None:
    """Drop what Keras remembers of closed models. The dtype policy would be dropped with it."""
    policy = keras.config.dtype_policy()
    keras.backend.clear_session()
    keras.config.set_dtype_policy(policy)
