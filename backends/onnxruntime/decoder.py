"""The decoder with a cache as an ONNX graph, of the operators that ONNX Runtime's own generative
models have (onnxruntime-genai's model builder).

Shapes: B batch, S tokens at hand, W width, V vocabulary.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from backends.onnxruntime.graph import Graph
from backends.onnxruntime.models import CONTRIB, IR_VERSION, OPSET
from backends.rotary import tables
from bench.dims import DecoderDims

IDS, LENGTH, TOTAL = "ids", "length", "total"
"""The tokens at hand, int64 [B, S]; of each prompt the last one's place, int32 [B]; the places that
are filled then, int32 [].
"""
NEXT, LOGITS = "next", "logits"
"""What is chosen, int64 [B, 1], and by what, [B, V]."""


def caches(dims: DecoderDims, which: str) -> list[str]:
    """Each layer's keys and values, [B, kv_heads, room, width of a head]; past or present."""
    return [f"{which}.{index}.{part}" for index in range(dims.layers) for part in ("key", "value")]


def make(graph: Graph, dims: DecoderDims, *, room: int) -> onnx.ModelProto:
    """The model, of an empty graph that has the weights; its present caches may be the memory of
    the past ones. room: the caches' places.
    """
    angles = rotation(graph, dims, room)
    x, out = graph.op("Gather", graph.weight("model.embed_tokens.weight"), IDS), ""
    for index in range(dims.layers):
        name = f"model.layers.{index}"
        x, out = norm(graph, dims, x, out, name=f"{name}.input_layernorm")
        out = attention(graph, dims, out, index=index, angles=angles)
        x, out = norm(graph, dims, x, out, name=f"{name}.post_attention_layernorm")
        out = mlp(graph, out, name=f"{name}.mlp")
    _, out = norm(graph, dims, x, out, name="model.norm")
    last = graph.op("Gather", out, graph.constant("last", np.array(-1, np.int64)), axis=1)
    graph.head(last, "model.embed_tokens")
    graph.nodes[-1].output[0] = LOGITS
    graph.op("ArgMax", LOGITS, axis=-1, keepdims=1)
    graph.nodes[-1].output[0] = NEXT
    return finished(graph, dims, room)


def rotation(graph: Graph, dims: DecoderDims, room: int) -> list[str]:
    """Cosines and sines [room, half a head]: the operator turns both halves by them."""
    half = dims.head_width // 2
    made = zip(("cos", "sin"), tables(dims, room))
    return [graph.constant(name, np.ascontiguousarray(table[:, :half])) for name, table in made]


def norm(graph: Graph, dims: DecoderDims, x: str, add: str, *, name: str) -> tuple[str, str]:
    """The sum of both, and its RMSNorm, by one operator; ``add`` is "" behind the embeddings."""
    scale, eps = graph.weight(f"{name}.weight"), dims.norm_eps
    if not add:
        return x, graph.op("SimplifiedLayerNormalization", x, scale, axis=-1, epsilon=eps)
    both, total = "SkipSimplifiedLayerNormalization", f"{name}.sum"
    outputs = ("", "", total)
    return total, graph.op(both, x, add, scale, outputs=outputs, domain=CONTRIB, epsilon=eps)


def attention(graph: Graph, dims: DecoderDims, x: str, *, index: int, angles: list[str]) -> str:
    """Causal grouped-query attention with rotary positions; [B, S, W] -> [B, S, W].

    Queries, keys and values are one product, as that operator takes them.
    """
    name, places = f"model.layers.{index}.self_attn", slice(2 * index, 2 * index + 2)
    packed = graph.product(x, *(f"{name}.{part}_proj" for part in "qkv"))
    out = graph.op(
        "GroupQueryAttention",
        *(packed, "", "", *caches(dims, "past")[places], LENGTH, TOTAL, *angles),
        outputs=caches(dims, "present")[places],
        domain=CONTRIB,
        num_heads=dims.heads,
        kv_num_heads=dims.kv_heads,
        do_rotary=1,
    )
    return graph.product(out, f"{name}.o_proj")


def mlp(graph: Graph, x: str, *, name: str) -> str:
    """SwiGLU; [B, S, W] -> [B, S, W]. The session makes one operator of the SiLU."""
    gate = graph.product(x, f"{name}.gate_proj")
    gate = graph.op("Mul", gate, graph.op("Sigmoid", gate))
    return graph.product(
        graph.op("Mul", gate, graph.product(x, f"{name}.up_proj")), f"{name}.down_proj"
    )


def finished(graph: Graph, dims: DecoderDims, room: int) -> onnx.ModelProto:
    value, number = helper.make_tensor_value_info, TensorProto.FLOAT
    shape = ["batch", dims.kv_heads, room, dims.head_width]
    past, present = (
        [value(name, number, shape) for name in caches(dims, which)]
        for which in ("past", "present")
    )
    inputs = [
        value(IDS, TensorProto.INT64, ["batch", "tokens"]),
        value(LENGTH, TensorProto.INT32, ["batch"]),
        value(TOTAL, TensorProto.INT32, []),
    ]
    outputs = [
        value(NEXT, TensorProto.INT64, ["batch", 1]),
        value(LOGITS, number, ["batch", dims.vocab]),
    ]
    held = list(graph.initialisers.values())
    made = helper.make_graph(graph.nodes, "decoder", inputs + past, outputs + present, held)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION)
