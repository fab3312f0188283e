"""In what an adapter really computes, and that a loss scale protects the weights."""

from __future__ import annotations

import pytest

from backends.registry import BACKENDS
from tests.contract.asking import cell, selected
from tests.contract.conftest import Ask

USES = {"parameters", "compute", "reduce", "optimizer"}
# Where a CPU can be made to run fp16, however slowly. Lightning takes bfloat16 instead, MXNet has
# no product of it, and Paddle's auto_cast does nothing. DeepSpeed's third stage skips the update,
# but keeps the scale.
EMULATED = {
    "torch": [{}],
    "deepspeed": [{"zero_stage": stage} for stage in ("0", "1")],
    "jax": [{}],
    "tensorflow": [{}],
    "keras": [{"keras_backend": engine} for engine in ("jax", "tensorflow", "torch")],
    "mindspore": [{}],
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "backend",
    [
        pytest.param(name, marks=pytest.mark.backend(name))
        for name in selected()
        if BACKENDS[name].trains
    ],
)
def test_the_types_are_read_back(ask: Ask, backend: str, precision: str) -> None:
    found = ask("dtypes", cell(backend, "transformer", precision=precision))
    if said := found.get("unsupported"):
        pytest.skip(said)
    assert found["before"] is None, "nothing was computed yet"
    after = found["after"]
    assert set(after) == USES
    # Mixed precision keeps the weights, and what updates them, in float32.
    assert after["parameters"] == after["optimizer"] == "float32"
    assert after["compute"] == {"fp32": "float32", "bf16": "bfloat16"}[precision]
    assert "float32" in after["reduce"]


@pytest.mark.parametrize(
    ("backend", "settings"),
    [
        pytest.param(name, settings, marks=pytest.mark.backend(name))
        for name in selected()
        for settings in EMULATED.get(name, [])
    ],
)
def test_an_overflow_skips_the_update_and_lowers_the_scale(
    ask: Ask, backend: str, settings: dict[str, str]
) -> None:
    usual = BACKENDS[backend].usual
    named = [f"{key}={value}" for key, value in settings.items()]
    mode = next((usual[name] for name in named if name in usual), BACKENDS[backend].modes[0])
    runs = ask("overflow", cell(backend, "cnn", precision="fp16", settings=settings, mode=mode))
    types = runs["whole"]["dtypes"]
    assert types["compute"] == "float16"
    assert types["parameters"] == types["optimizer"] == "float32"
    whole, spoilt = runs["whole"]["seen"], runs["spoilt"]["seen"]
    assert spoilt[:2] == whole[:2]
    (loss, scale), (_, lowered) = spoilt[1:3]
    assert lowered == scale / 2
    assert loss != whole[2][0], "the batches differ, so must their losses"
    assert spoilt[3][0] == whole[2][0], "the weights are those before the overflow"
