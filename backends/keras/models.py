"""The networks as Keras's users write them: functional models of stock layers, channels last.

Of stock layers only, so that a ``.keras`` file of them loads in safe mode without custom objects.
They run under each of Keras's engines. Layers carry the canonical names, with dashes for dots,
which torch's modules forbid. Initialisers are Keras's own and of no consequence, because
``load_weights`` replaces every value.
"""

from __future__ import annotations

import keras
import numpy as np

from backends.keras.cnn import cnn
from backends.keras.decoder import decoder
from backends.keras.encoder import encoder
from backends.keras.recompute import Around, plain
from backends.layouts import Layout, fill
from bench.contract import Cell, Weights
from bench.dims import CnnDims, DecoderDims, Dims

NORM = {"weight": "gamma", "bias": "beta"}
MOVING = {"running_mean": "moving_mean", "running_var": "moving_variance"}
LAYOUT = Layout(
    conv=(2, 3, 1, 0),
    dense=(1, 0),
    names={
        "conv": {"weight": "kernel"},
        "norm": {**NORM, **MOVING},
        "rms_norm": {"weight": "scale"},
        "embedding": {"weight": "embeddings"},
        "dense": {"weight": "kernel"},
    },
)


def make(dims: Dims, *, square: bool = False, around: Around = plain) -> keras.Model:
    """Image [B, H, W, C], or ids and mask int32 [B, S] -> logits [B, classes], float32; of the
    decoder ids -> [B, S, vocab].

    square: the mask becomes one of each query, [B, S, S]. around: what to put around each layer of
    the encoder and decoder and each residual block.
    """
    if isinstance(dims, CnnDims):
        return cnn(dims, around=around)
    if isinstance(dims, DecoderDims):
        return decoder(dims, around=around)
    return encoder(dims, length=dims.sequence, square=square, around=around)


def load_weights(model: keras.Model, weights: Weights) -> None:
    """Assign the canonical weights; ValueError names what does not fit."""
    variables = {canonical(variable): variable for variable in model.variables}
    shapes = {name: flat(name, variable.shape) for name, variable in variables.items()}
    for name, value in fill(weights, LAYOUT, into=shapes).items():
        variables[name].assign(value.reshape(variables[name].shape))


def serve(cell: Cell, model: keras.Model, weights: Weights) -> int:
    """Assign the weights; in int8 Keras makes them that, and what they are multiplied with. Counts
    parameters as they were before.
    """
    load_weights(model, weights)
    n_params = count(model)
    if cell.precision == "int8":
        model.quantize("int8")
    return n_params


def canonical(variable: keras.Variable) -> str:
    """A variable's path, with dots. Keras keeps the projection behind attention in its layer, and
    LoRA's adapters in the layer that they stand beside.
    """
    path = variable.path.replace("/", ".").replace("-", ".")
    path = path.replace(".lora_kernel_a", ".lora_A.kernel").replace(
        ".lora_kernel_b", ".lora_B.kernel"
    )
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


def dense_type(model: keras.Model) -> str:
    """Of the weights in its dense layers."""
    kernels = (one.kernel for one in model.layers if isinstance(one, keras.layers.Dense))
    return str(keras.backend.standardize_dtype(next(kernels).dtype))


def forget() -> None:
    """Drop what Keras remembers of closed models, but not what is set for those to come."""
    policy, distribution = keras.config.dtype_policy(), keras.distribution.distribution()
    keras.backend.clear_session()
    keras.config.set_dtype_policy(policy)
    keras.distribution.set_distribution(distribution)
