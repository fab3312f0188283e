"""CUDA graphs are asked for where they can be had, and refused in words elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.contract.asking import cell, selected
from tests.contract.conftest import Ask


@pytest.mark.skipif("torch" not in selected(), reason="torch is not asked for")
def test_graphs_are_of_compiled_training_on_one_gpu(ask: Ask) -> None:
    graphs = {"cuda_graphs": "on"}
    able = cell("torch", "cnn", device="cuda", mode="compiled", settings=graphs)
    unable = {
        "cpu": replace(able, device="cpu"),
        "eager": replace(able, mode="eager"),
        "two": replace(able, world_size=2),
        "file": replace(able, format="native"),
    }
    plain = cell("torch", "cnn", mode="compiled")
    found = ask("on_gpu:compile_torch", plain, cells={"able": able, **unable})
    assert found["said"].pop("able") is None
    reasons = ("device is cpu", "needs mode compiled", "one device", "as it was exported")
    for said, reason in zip(found["said"].values(), reasons, strict=True):
        assert reason in said
    # The documented mode, in which what cannot be recorded is an error.
    recorded = {"triton.cudagraphs": True, "triton.cudagraph_or_error": True}
    assert found["told"] == [{"dynamic": False, "options": one} for one in (None, recorded)]
