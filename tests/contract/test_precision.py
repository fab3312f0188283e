"""In what an adapter really computes, and that a loss scale protects the weights."""

from __future__ import annotations

import pytest

from backends.registry import BACKENDS
from tests.contract.asking import cell, selected, training
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


@pytest.mark.parametrize("backend", training())
def test_the_types_are_read_back(ask: Ask, backend: str) -> None:
    """Those of fp32 are looked at where it trains anyway (test_adapters.py)."""
    found = ask("dtypes", cell(backend, "transformer", precision="bf16"))
    if said := found.get("unsupported"):
        pytest.skip(said)
    assert found["before"] is None, "nothing was computed yet"
    after = found["after"]
    assert set(after) == USES
    # Mixed precision keeps the weights, and what updates them, in float32.
    assert after["parameters"] == after["optimizer"] == "float32"
    assert after["compute"] == "bfloat16"
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
    # Few samples: emulated, the workload's own 32 took half a minute.
    asked = cell(backend, "cnn", precision="fp16", settings=settings, mode=mode, batch=4)
    runs = ask("overflow", asked)
    types = runs["whole"]["dtypes"]
    assert types["compute"] == "float16"
    assert types["parameters"] == types["optimizer"] == "float32"
    whole, spoilt = runs["whole"]["seen"], runs["spoilt"]["seen"]
    # Nearly: MindSpore's threads add in an order of their own, and the seventh digit differs.
    same = [(float(loss), scale) for loss, scale in (*spoilt[:2], spoilt[3])]
    assert [loss for loss, _ in same] == pytest.approx([float(loss) for loss, _ in whole], rel=1e-5)
    assert [scale for _, scale in same[:2]] == [scale for _, scale in whole[:2]]
    (loss, scale), (_, lowered) = spoilt[1:3]
    assert lowered == scale / 2
    assert float(loss) != pytest.approx(float(whole[2][0]), rel=1e-4), "the batches must differ"


@pytest.mark.backend("mxnet")
def test_int8_says_what_it_was_calibrated_on(ask: Ask) -> None:
    if "mxnet" not in selected():
        pytest.skip("MXNet is not asked for")
    found = ask("generate", cell("mxnet", "decoder", workload="generate", precision="int8"))
    assert found["effective"]["calibrated_on"] == "the prompts that it answers"
