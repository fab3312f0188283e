"""What a row says of its attention is what computes it, and tuning changes nothing else.

That every row says something is asked in test_adapters.py, beside its training.
"""

from __future__ import annotations

import pytest

from bench.dims import EncoderDims
from tests.contract.asking import cell, selected
from tests.contract.conftest import Ask

CPU_KERNEL = "aten._scaled_dot_product_flash_attention_for_cpu.default"


def only(backend: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(backend not in selected(), reason=f"{backend} is not asked for")


def asked(ask: Ask, backend: str, check: str) -> dict:
    tuned = cell(backend, "transformer", device="cuda", precision="bf16", track="tuned")
    return ask(f"on_gpu:{check}", cell(backend, "transformer"), cells={"tuned": tuned})


@only("torch")
def test_torch_names_the_operator_that_it_runs(ask: Ask) -> None:
    found = asked(ask, "torch", "watch_torch")
    assert [one["called"] for one in found.values()] == 4 * [[CPU_KERNEL]]
    assert {one["facts"]["attention"] for one in found.values()} == {"flash"}


@only("torch")
def test_torch_is_given_no_mask_where_there_is_no_padding_on_a_tuned_gpu(ask: Ask) -> None:
    found = asked(ask, "torch", "watch_torch")
    without = [name for name, one in found.items() if "attention_mask" in one["facts"]]
    assert without == ["whole tuned"]
    assert max(one["off"] for one in found.values()) < 1e-6


@only("jax")
def test_jax_calls_cudnn_in_each_layer_of_a_tuned_gpu(ask: Ask) -> None:
    """As JAX's own checks of shapes and types let it: it raises where they do not."""
    found = asked(ask, "jax", "lower_jax")
    dims = cell("jax", "transformer").dims
    assert isinstance(dims, EncoderDims)
    both = {"": dims.layers, "Backward": dims.layers}
    assert found["tuned"] == {"fact": "cudnn", "called": both}
    assert found["out-of-box"] == {"fact": "xla", "called": {"": 0, "Backward": 0}}
    assert found["off"] < 1e-6


@only("keras")
def test_keras_on_jax_takes_cudnn_if_each_query_has_a_mask(ask: Ask) -> None:
    found = asked(ask, "keras", "trace_keras")
    assert (found["out-of-box"], found["tuned"]) == ("xla", "cudnn")
    assert found["off"] < 1e-6
