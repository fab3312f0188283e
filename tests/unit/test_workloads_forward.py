"""The independent forward: by hand where that can be done, then against the tiny traces."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from bench import safetensors
from bench.dims import CnnDims
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


@pytest.mark.parametrize("model", ["cnn", "transformer"])
def test_the_tiny_traces_are_reproduced(model):
    made = prepare.ensure(model, "tiny")
    spec = catalogue.size(model, model, "tiny")
    trace = json.loads(made.trace.read_text(encoding="utf-8"))
    weights, data = safetensors.read(made.weights), safetensors.read(made.data)
    given = batches.make(data, model=model, batch=spec.batch, train_batches=1, infer_batches=1)
    logits = numpy_forward.logits(spec.dims, weights, given.infer[0])
    np.testing.assert_allclose(logits, trace["logits"], rtol=0, atol=1e-9)
    training = numpy_forward.logits(spec.dims, weights, given.train[0], training=True)
    loss = numpy_forward.cross_entropy(training, given.train[0]["label"])
    assert loss == pytest.approx(trace["losses"][0], rel=1e-9)
    first = batches.held_out(data, model=model, batch=16, limit=16)[0]
    exported = numpy_forward.logits(spec.dims, safetensors.read(made.export_weights), first)
    np.testing.assert_allclose(exported, trace["export"]["logits"], rtol=0, atol=1e-9)
