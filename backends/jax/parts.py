"""The layers of all networks, made in one compute type."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array


def call(module: Any, *inputs: Array) -> Array:
    """How a stack calls its layers, unless it is told another way."""
    output: Array = module(*inputs)
    return output


class LoraLinear(nnx.LoRALinear):
    """Flax's, which knows no scale of the adapter's output; [..., in] -> [..., out]."""

    def __init__(self, inputs: int, outputs: int, *, scale: float, **options: Any) -> None:
        super().__init__(inputs, outputs, **options)
        self.scale = scale

    def __call__(self, x: Array) -> Array:
        return nnx.Linear.__call__(self, x) + self.lora(x) * self.scale


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

    def linear(self, inputs: int, outputs: int, *, use_bias: bool = True) -> nnx.Linear:
        return nnx.Linear(inputs, outputs, use_bias=use_bias, **self.types)

    def adapted(self, inputs: int, outputs: int) -> nnx.Linear:
        """Without a bias; with a low-rank adapter beside it where the dims have one."""
        if not self.dims.lora_rank:
            return self.linear(inputs, outputs, use_bias=False)
        rank, scale = self.dims.lora_rank, self.dims.lora_scale
        adapter = {"lora_rank": rank, "lora_dtype": self.types["dtype"]}
        return LoraLinear(inputs, outputs, scale=scale, use_bias=False, **adapter, **self.types)

    def embed(self, rows: int) -> nnx.Embed:
        return nnx.Embed(rows, self.dims.width, **self.types)

    def layer_norm(self) -> nnx.LayerNorm:
        return nnx.LayerNorm(self.dims.width, epsilon=self.dims.ln_eps, **self.types)

    def rms_norm(self) -> nnx.RMSNorm:
        return nnx.RMSNorm(self.dims.width, epsilon=self.dims.norm_eps, **self.types)
