"""Activation checkpointing changes the memory and the time, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backends.registry import BACKENDS
from bench.contract import CnnDims
from tests.contract.asking import cell, selected
from tests.contract.conftest import Ask

ABLE = [name for name in selected() if "recompute" in BACKENDS[name].settings]


@pytest.mark.parametrize("model", ["cnn", "transformer"])
@pytest.mark.parametrize(
    "backend", [pytest.param(name, marks=pytest.mark.backend(name)) for name in ABLE]
)
def test_blocks_that_run_twice_train_as_those_that_run_once(
    ask: Ask, backend: str, model: str
) -> None:
    asked = cell(backend, model, settings={"recompute": "on"})
    found = ask("recompute", asked, cells={"plain": replace(asked, settings={})})
    plain, again = found["plain"], found["recomputed"]
    assert again["losses"] == pytest.approx(plain["losses"], rel=1e-5)
    # BatchNorm's running statistics would be updated twice.
    np.testing.assert_allclose(again["logits"], plain["logits"], rtol=1e-4, atol=1e-5)
    dims = asked.dims
    blocks = sum(dims.blocks) if isinstance(dims, CnnDims) else dims.layers
    assert (plain["blocks"], again["blocks"]) == (None, blocks)
