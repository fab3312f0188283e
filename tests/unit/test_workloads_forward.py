"""The independent forward: by hand where that can be done, then against the tiny traces."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from bench import parity, safetensors
from bench.dims import CnnDims, DecoderDims
from workloads import batches, catalogue, numpy_forward, prepare


# -log softmax([0, ln 3])[1] = -ln(3/4); of class 0 it is ln 4; the mean is ln(16/3) / 2.
def test_cross_entropy_is_the_mean():
    logits = np.array([[0.0, math.log(3)], [1000.0, 1000.0 + math.log(3)]])
    assert numpy_forward.cross_entropy(logits, np.array([1, 0])) == pytest.approx(
        math.log(16 / 3) / 2
    )


# One channel of 2 x 2 with a kernel of ones: at stride 1 each place sees all four pixels
# (1 + 2 + 3 + 4 = 10); batch normalisation by running statistics halves (variance 4, eps 0) and
# the shift of 1 makes 6; no block adds anything but 0, so fc sees the mean, 6.
def test_a_one_pixel_network_by_hand():
    dims = CnnDims(2, 1, 1, "3x3", (1,), (1,), bn_eps=0.0)
    one = np.ones((1, 1, 3, 3))
    w = {"conv1.weight": one, "layer1.0.conv1.weight": 0 * one, "layer1.0.conv2.weight": 0 * one}
    for norm in ("bn1", "layer1.0.bn1", "layer1.0.bn2"):
        shift = 1.0 if norm == "bn1" else 0.0
        w.update({f"{norm}.weight": np.ones(1), f"{norm}.bias": np.full(1, shift)})
        w.update({f"{norm}.running_mean": np.zeros(1), f"{norm}.running_var": np.full(1, 4.0)})
    w.update({"fc.weight": np.full((1, 1), 2.0), "fc.bias": np.ones(1)})
    image = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert numpy_forward.logits(dims, w, {"image": image}).tolist() == [[13.0]]


def test_cross_entropy_of_text_is_the_mean_over_all_tokens():
    logits = np.array([[[0.0, math.log(3)], [0.0, math.log(3)]]])
    assert numpy_forward.cross_entropy(logits, np.array([[1, 0]])) == pytest.approx(
        math.log(16 / 3) / 2
    )


# One layer, two heads of width 2 that share one of keys and values, and an mlp that adds nothing.
# Queries and keys are 0, so each token takes the mean of the values up to itself. Each embedding is
# as long as the root of its width, 2, so RMSNorm changes nothing, and the values are the first two
# numbers: [2, 0] of the first token, [0, 0] of the second, whose mean is [1, 0].
DECODER = DecoderDims(2, 1, 4, 2, 1, 1, sequence=2, norm_eps=0.0)
TABLE = np.array([[2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]])


def decoder(**changes):
    at = "model.layers.0"
    w = {"model.embed_tokens.weight": TABLE, "model.norm.weight": np.ones(4)}
    w |= {f"{at}.{name}_layernorm.weight": np.ones(4) for name in ("input", "post_attention")}
    w |= {f"{at}.mlp.{name}_proj.weight": np.zeros((1, 4)) for name in ("gate", "up")}
    w |= {f"{at}.self_attn.q_proj.weight": np.zeros((4, 4))}
    w |= {f"{at}.self_attn.{name}_proj.weight": np.zeros((2, 4)) for name in "kv"}
    w |= {f"{at}.mlp.down_proj.weight": np.zeros((4, 1))}
    w |= {f"{at}.self_attn.o_proj.weight": np.zeros((4, 4))}
    return w | {f"{at}.{name}": value for name, value in changes.items()}


def test_a_decoder_that_attends_to_nothing_by_hand():
    # Each token's own embedding by the table: 2 * 2 = 4 for the word itself, 0 for the other.
    logits = numpy_forward.logits(DECODER, decoder(), {"ids": np.array([[0, 1]])})
    assert logits.tolist() == [[[4.0, 0.0], [0.0, 4.0]]]


def test_a_decoders_tokens_see_the_past_only_and_both_heads_share_the_values():
    values = {"self_attn.v_proj.weight": np.eye(4)[:2], "self_attn.o_proj.weight": np.eye(4)}
    logits = numpy_forward.logits(DECODER, decoder(**values), {"ids": np.array([[0, 1]])})
    # [2, 0, 0, 0] + [2, 0, 2, 0], normed to a mean square of 1: [4, 0, 2, 0] / sqrt(20 / 4).
    # [0, 0, 2, 0] + [1, 0, 1, 0] = [1, 0, 3, 0] / sqrt(10 / 4).
    first, second = np.array([8, 4]) / math.sqrt(5), np.array([2, 6]) / math.sqrt(2.5)
    np.testing.assert_allclose(logits, [[first, second]], rtol=1e-12)


def test_places_turn_pairs_that_lie_half_a_head_apart():
    dims = DecoderDims(2, 1, 4, 1, 1, 1, sequence=2, rope_theta=100.0)
    x = np.tile([1.0, 2.0, 0.0, 0.0], (1, 2, 1))
    # The first pair turns by 1 radian a place, the second by 100^(-1/2) = 0.1.
    turned = numpy_forward._turned(dims, x)
    cos, sin = math.cos, math.sin
    assert turned[0, 0].tolist() == [1.0, 2.0, 0.0, 0.0]
    np.testing.assert_allclose(turned[0, 1], [cos(1), 2 * cos(0.1), sin(1), 2 * sin(0.1)])


@pytest.mark.parametrize("model", ["cnn", "transformer", "decoder"])
def test_the_tiny_traces_are_reproduced(model):
    made = prepare.ensure(model, "tiny")
    spec = catalogue.of_model(model, "tiny")
    trace = json.loads(made.trace.read_text(encoding="utf-8"))
    weights, data = safetensors.read(made.weights), safetensors.read(made.data)
    given = batches.make(data, model=model, batch=spec.batch, train_batches=1, infer_batches=1)
    logits = numpy_forward.logits(spec.dims, weights, given.infer[0])
    np.testing.assert_allclose(parity.sampled(logits), trace["logits"], rtol=0, atol=1e-9)
    training = numpy_forward.logits(spec.dims, weights, given.train[0], training=True)
    loss = numpy_forward.cross_entropy(training, given.train[0]["label"])
    assert loss == pytest.approx(trace["losses"][0], rel=1e-9)
    count = len(trace["export"]["logits"])
    first = batches.held_out(data, model=model, batch=count, limit=count)[0]
    exported = numpy_forward.logits(spec.dims, safetensors.read(made.export_weights), first)
    given = trace["export"]["logits"]
    np.testing.assert_allclose(parity.sampled(exported), given, rtol=0, atol=1e-9)
