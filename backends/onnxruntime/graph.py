"""An ONNX graph under construction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bench.contract import Weights


class Graph:
    """Nodes and initialisers of a graph under construction; values are known by name."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: dict[str, onnx.TensorProto] = {}

    def op(self, kind: str, *inputs: str, outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Append a node, and return its first output's name. outputs: the names of further ones."""
        output = f"{kind}_{len(self.nodes)}"
        made = helper.make_node(kind, inputs, [output, *outputs], name=output, **attributes)
        self.nodes.append(made)
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        if name not in self.initialisers:
            self.initialisers[name] = numpy_helper.from_array(value, name)
        return name

    def ints(self, *values: int) -> str:
        name = "shape_" + "_".join(str(value) for value in values)
        return self.constant(name, np.array(values, np.int64))

    def scalar(self, value: float) -> str:
        return self.constant(f"scalar_{value}", np.array(value, np.float32))

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name])

    def conv(self, x: str, name: str, *, stride: int = 1) -> str:
        """No bias; 3x3 and 7x7 kernels padded by half their size on every side."""
        kernel = self.weights[f"{name}.weight"].shape[-1]
        pads, strides = [kernel // 2] * 4, [stride] * 2
        weight = self.weight(f"{name}.weight")
        return self.op("Conv", x, weight, kernel_shape=[kernel] * 2, pads=pads, strides=strides)

    def batch_norm(self, x: str, name: str, *, eps: float) -> str:
        """In its inference form: the running statistics are constants."""
        parts = ("weight", "bias", "running_mean", "running_var")
        inputs = [self.weight(f"{name}.{part}") for part in parts]
        return self.op("BatchNormalization", x, *inputs, epsilon=eps)

    def layer_norm(self, x: str, name: str, *, eps: float) -> str:
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=eps)

    def product(self, x: str, *names: str) -> str:
        """[..., in] -> [..., out]: several layers' outputs side by side."""
        parts = [self.weights[f"{name}.weight"] for name in names]
        return self.multiply(x, "+".join(names), np.concatenate(parts) if parts[1:] else parts[0])

    def multiply(self, x: str, name: str, weight: np.ndarray) -> str:
        """[..., in] -> [..., out]; MatMul wants the weight as (in, out)."""
        return self.op("MatMul", x, self.constant(f"{name}.weight.T", weight.T))

    def head(self, x: str, name: str) -> str:
        """[B, in] -> [B, out] by a table of embeddings, which is not copied."""
        return self.op("Gemm", x, self.weight(f"{name}.weight"), transB=1)

    def dense(self, x: str, name: str) -> str:
        """[..., in] -> [..., out]."""
        return self.op("Add", self.product(x, name), self.weight(f"{name}.bias"))

    def last(self, x: str, name: str) -> str:
        """A dense layer on a matrix: [B, in] -> [B, out]."""
        return self.op(
            "Gemm", x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), transB=1
        )
