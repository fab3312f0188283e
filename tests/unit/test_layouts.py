"""Weight layouts: what a tensor is, where it goes, and what is said of one that does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from backends.layouts import Layout, arrange, fill, kind

NHWC = Layout(
    conv=(2, 3, 1, 0),
    dense=(1, 0),
    names={
        "conv": {"weight": "kernel"},
        "dense": {"weight": "kernel"},
        "norm": {"weight": "gamma", "running_mean": "moving_mean"},
    },
)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("conv1.weight", "conv"),
        ("layer2.0.conv3.weight", "conv"),
        ("layer2.0.downsample.0.weight", "conv"),
        ("layer2.0.downsample.1.weight", "norm"),
        ("bn1.running_var", "norm"),
        ("embeddings.LayerNorm.bias", "norm"),
        ("embeddings.token_type_embeddings.weight", "embedding"),
        ("encoder.layer.0.attention.self.query.weight", "dense"),
        ("model.embed_tokens.weight", "embedding"),
        ("model.layers.0.input_layernorm.weight", "rms_norm"),
        ("model.norm.weight", "rms_norm"),
        ("model.layers.0.self_attn.k_proj.weight", "dense"),
        ("model.layers.0.mlp.gate_proj.weight", "dense"),
        ("fc.bias", "bias"),
    ],
)
def test_a_name_says_what_a_tensor_is(name: str, what: str) -> None:
    assert kind(name) == what


def test_a_kernel_is_turned_and_renamed() -> None:
    weights = {
        "conv1.weight": np.arange(24, dtype=np.float32).reshape(4, 3, 2, 1),
        "fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "bn1.running_mean": np.ones(4, np.float32),
        "word_embeddings.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    }
    found = dict(arrange(weights, NHWC))
    assert list(found) == ["conv1.kernel", "fc.kernel", "bn1.moving_mean", "word_embeddings.weight"]
    # OIHW (4, 3, 2, 1) as HWIO: output 3, input 2, row 1 is the last of all 24.
    assert found["conv1.kernel"].shape == (2, 1, 3, 4)
    assert found["conv1.kernel"][1, 0, 2, 3] == 23
    assert found["fc.kernel"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found["word_embeddings.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert all(value.flags.c_contiguous for value in found.values())


def test_what_does_not_fit_is_named() -> None:
    weights = {"fc.weight": np.zeros((2, 3), np.float32), "fc.bias": np.zeros(2, np.float32)}
    model = {"fc.kernel": (3, 2), "fc.bias": (2,)}
    assert set(fill(weights, NHWC, into=model)) == set(model)
    with pytest.raises(ValueError, match=r"missing \['fc.scale'\], unknown \['fc.bias'\]"):
        fill(weights, NHWC, into={"fc.kernel": (3, 2), "fc.scale": (2,)})
    with pytest.raises(ValueError, match=r"fc.kernel: \(3, 2\), the model has \(2, 3\)"):
        fill(weights, NHWC, into={"fc.kernel": (2, 3), "fc.bias": (2,)})
