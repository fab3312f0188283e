"""The two networks as ONNX graphs, from the canonical weights, without any framework.

Standard operators, unless ``fused``, in the forms that ONNX Runtime's own graph fusions look
for. Batch is the one dynamic dimension; the sequence is another where ``dims.sequence`` is 0.
Shapes: B batch, S sequence, W width, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper

from backends.onnxruntime.graph import Graph
from bench.contract import Weights
from bench.dims import CnnDims, Dims, EncoderDims

OPSET = 20  # the first with Gelu, and what torch's exporter writes
IR_VERSION = 10  # the IR that belongs to opset 20; readers refuse files that are newer than they
MASKED = -10_000.0  # BERT's own: added to a score it leaves exp(score) = 0 in float32
CONTRIB = "com.microsoft"  # ONNX Runtime's own operators
PARTS = ("query", "key", "value")


def make(dims: Dims, weights: Weights, *, fused: bool = False) -> onnx.ModelProto:
    """The model: inputs ``image`` or ``ids`` and ``mask``, output ``logits``.

    fused: attention as ONNX Runtime's one operator, which its documentation has an offline
    tool for; such a file runs nowhere else.
    """
    graph = Graph(weights)
    if isinstance(dims, CnnDims):
        inputs = {"image": (TensorProto.FLOAT, [dims.channels, dims.image, dims.image])}
        logits = cnn(graph, dims)
    else:
        length = dims.sequence or "sequence"
        inputs = {name: (TensorProto.INT64, [length]) for name in ("ids", "mask")}
        attend = fused_attention if fused else attention
        logits = encoder(graph, dims, attend(graph, dims))
    graph.nodes[-1].output[0] = "logits"
    assert graph.nodes[-1].name == logits, "the logits are computed last"
    made = helper.make_graph(
        graph.nodes,
        "cnn" if isinstance(dims, CnnDims) else "encoder",
        [helper.make_tensor_value_info(n, t, ["batch", *s]) for n, (t, s) in inputs.items()],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", dims.classes])],
        list(graph.initialisers.values()),
    )
    opsets = [helper.make_opsetid("", OPSET)]
    if fused:
        opsets.append(helper.make_opsetid(CONTRIB, 1))
    return helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION)


def cnn(graph: Graph, dims: CnnDims) -> str:
    """The residual network of ``bench.contract.CnnDims``; image [B, C, H, W] -> [B, classes]."""
    wide = dims.stem == "7x7"
    x = graph.conv("image", "conv1", stride=2 if wide else 1)
    x = graph.op("Relu", graph.batch_norm(x, "bn1", eps=dims.bn_eps))
    if wide:
        x = graph.op("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])
    for stage, depth in enumerate(dims.blocks, start=1):
        for index in range(depth):
            stride = 2 if stage > 1 and index == 0 else 1
            x = block(graph, dims, x, name=f"layer{stage}.{index}", stride=stride)
    pooled = graph.op("Flatten", graph.op("GlobalAveragePool", x), axis=1)
    return graph.last(pooled, "fc")


def block(graph: Graph, dims: CnnDims, x: str, *, name: str, stride: int) -> str:
    """Two 3x3 convolutions, or 1x1, 3x3, 1x1 where ``bottleneck``; the first 3x3 strides."""
    convolutions = 3 if dims.bottleneck else 2
    strided = 2 if dims.bottleneck else 1
    out = x
    for index in range(1, convolutions + 1):
        out = graph.conv(out, f"{name}.conv{index}", stride=stride if index == strided else 1)
        out = graph.batch_norm(out, f"{name}.bn{index}", eps=dims.bn_eps)
        if index < convolutions:
            out = graph.op("Relu", out)
    if f"{name}.downsample.0.weight" in graph.weights:
        x = graph.conv(x, f"{name}.downsample.0", stride=stride)
        x = graph.batch_norm(x, f"{name}.downsample.1", eps=dims.bn_eps)
    return graph.op("Relu", graph.op("Add", out, x))


Attend = Callable[[str, str], str]
"""(x [B, S, W], the layer's name) -> [B, S, W], before the output projection."""


def encoder(graph: Graph, dims: EncoderDims, attend: Attend) -> str:
    """BERT with a pooler and a classifier; ids, mask [B, S] -> [B, classes]."""
    x = embeddings(graph, dims)
    for index in range(dims.layers):
        name = f"encoder.layer.{index}"
        out = attend(x, f"{name}.attention.self")
        out = graph.op("Add", graph.dense(out, f"{name}.attention.output.dense"), x)
        x = graph.layer_norm(out, f"{name}.attention.output.LayerNorm", eps=dims.ln_eps)
        out = graph.op("Gelu", graph.dense(x, f"{name}.intermediate.dense"))
        out = graph.op("Add", graph.dense(out, f"{name}.output.dense"), x)
        x = graph.layer_norm(out, f"{name}.output.LayerNorm", eps=dims.ln_eps)
    first = graph.op("Gather", x, graph.constant("first", np.array(0, np.int64)), axis=1)
    pooled = graph.op("Tanh", graph.last(first, "pooler.dense"))
    return graph.last(pooled, "classifier")


def embeddings(graph: Graph, dims: EncoderDims) -> str:
    """Vectors [B, S, W] of ids [B, S]; positions and types are the same for all, so folded."""
    table = graph.weights["embeddings.position_embeddings.weight"]
    types = graph.weights["embeddings.token_type_embeddings.weight"][0]
    words = graph.op("Gather", graph.weight("embeddings.word_embeddings.weight"), "ids", axis=0)
    positions = graph.constant("positions", table[: dims.sequence or len(table)] + types)
    if not dims.sequence:
        length = graph.op("Shape", "ids", start=1, end=2)
        positions = graph.op("Slice", positions, graph.ints(0), length)
    x = graph.op("Add", words, positions)
    return graph.layer_norm(x, "embeddings.LayerNorm", eps=dims.ln_eps)


def attention(graph: Graph, dims: EncoderDims) -> Attend:
    """Attention from standard operators, the mask added to the scores."""
    split = graph.ints(0, 0, dims.heads, dims.width // dims.heads)  # 0: as in the input
    mask = graph.op("Unsqueeze", "mask", graph.ints(1))
    mask = graph.op("Unsqueeze", mask, graph.ints(2))  # [B, 1, 1, S]
    mask = graph.op("Sub", graph.scalar(1.0), graph.op("Cast", mask, to=TensorProto.FLOAT))
    mask = graph.op("Mul", mask, graph.scalar(MASKED))

    def attend(x: str, name: str) -> str:
        query, key, value = (
            graph.op("Reshape", graph.dense(x, f"{name}.{part}"), split) for part in PARTS
        )
        query = graph.op("Transpose", query, perm=[0, 2, 1, 3])  # [B, H, S, W/H]
        key = graph.op("Transpose", key, perm=[0, 2, 3, 1])
        value = graph.op("Transpose", value, perm=[0, 2, 1, 3])
        scores = graph.op("MatMul", query, key)
        scores = graph.op("Div", scores, graph.scalar(math.sqrt(dims.width // dims.heads)))
        shares = graph.op("Softmax", graph.op("Add", scores, mask), axis=-1)
        out = graph.op("Transpose", graph.op("MatMul", shares, value), perm=[0, 2, 1, 3])
        return graph.op("Reshape", out, graph.ints(0, 0, dims.width))

    return attend


def fused_attention(graph: Graph, dims: EncoderDims) -> Attend:
    """ONNX Runtime's Attention: projections in one product, the mask as int32 [B, S]."""
    mask = graph.op("Cast", "mask", to=TensorProto.INT32)

    def attend(x: str, name: str) -> str:
        weights = [graph.weights[f"{name}.{part}.weight"].T for part in PARTS]
        biases = [graph.weights[f"{name}.{part}.bias"] for part in PARTS]
        weight = graph.constant(f"{name}.weight.T", np.concatenate(weights, axis=1))
        bias = graph.constant(f"{name}.bias", np.concatenate(biases))
        return graph.op("Attention", x, weight, bias, mask, domain=CONTRIB, num_heads=dims.heads)

    return attend


def matmul(n: int, *, int8: bool = False) -> onnx.ModelProto:
    """An n x n x n product; its left input ``x``, its right one a constant, as in a model."""
    right = np.ones((n, n), np.int8 if int8 else np.float32)
    types = (TensorProto.UINT8, TensorProto.INT32) if int8 else (TensorProto.FLOAT,) * 2
    return _operation("MatMulInteger" if int8 else "MatMul", right, shape=(n, n), types=types)


def increment(n: int) -> onnx.ModelProto:
    """Adds 1 to n float32 numbers, its input ``x``."""
    one = np.ones(1, np.float32)
    return _operation("Add", one, shape=(n,), types=(TensorProto.FLOAT,) * 2)


def _operation(
    name: str, right: np.ndarray, *, shape: tuple[int, ...], types: tuple[int, int]
) -> onnx.ModelProto:
    """One operation on ``x`` and a constant; input and output have one shape."""
    graph = Graph({})
    result = graph.op(name, "x", graph.constant("right", right))
    values = [
        helper.make_tensor_value_info(value, kind, shape)
        for value, kind in zip(("x", result), types)
    ]
    made = helper.make_graph(
        graph.nodes, name, values[:1], values[1:], list(graph.initialisers.values())
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(made, opset_imports=[opset], ir_version=IR_VERSION)
