"""Activation checkpointing changes the memory and the time, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backends.registry import BACKENDS
from bench.contract import Cell
from bench.dims import CnnDims
from tests.contract.asking import cell, selected
from tests.contract.conftest import Ask

MODELS = ("cnn", "transformer")
ONE = {"lightning": ("cnn",), "deepspeed": ("transformer",), "keras": ("transformer",)}
"""The first two wrap torch's models by torch's code; Keras's cnn runs on other engines below."""
UNSUPPORTED = {
    ("paddle", "compiled"): "to_static",
    ("mindspore", "compiled"): "frees no memory",
    ("mxnet", "eager"): "Gluon's cached graph",
    ("mxnet", "compiled"): "Gluon's cached graph",
}
"""(backend, mode) -> words of the answer."""


FURTHER = (
    ("tensorflow", "transformer", "compiled", {}),
    ("keras", "cnn", "graph", {"keras_backend": "tensorflow"}),
    ("keras", "cnn", "eager", {"keras_backend": "torch"}),
)
"""(backend, model, mode, engine) beside the usual ones."""


def cases() -> list[Cell]:
    """The usual mode of what can, and all modes of what cannot."""
    able = [name for name in selected() if "recompute" in BACKENDS[name].settings]
    modes = [(name, BACKENDS[name].modes[0]) for name in able] + list(UNSUPPORTED)
    asked = [
        (name, model, mode, {})
        for name, mode in dict.fromkeys(modes)
        for model in ONE.get(name, MODELS)
    ]
    return [
        cell(name, model, mode=mode, settings={**engine, "recompute": "on"})
        for name, model, mode, engine in (*asked, *FURTHER)
        if name in able
    ]


def parameters(*, can: bool) -> list[Any]:
    return [
        pytest.param(one, marks=pytest.mark.backend(one.backend), id=one.id)
        for one in cases()
        if can != ((one.backend, one.mode) in UNSUPPORTED)
    ]


@pytest.mark.parametrize("asked", parameters(can=True))
def test_blocks_that_run_twice_train_as_those_that_run_once(ask: Ask, asked: Cell) -> None:
    settings = {key: value for key, value in asked.settings.items() if key != "recompute"}
    found = ask("recompute", asked, cells={"plain": replace(asked, settings=settings)})
    plain, again = found["plain"], found["recomputed"]
    assert again["losses"] == pytest.approx(plain["losses"], rel=1e-5)
    # BatchNorm's running statistics would be updated twice.
    np.testing.assert_allclose(again["logits"], plain["logits"], rtol=1e-4, atol=1e-5)
    dims = asked.dims
    blocks = sum(dims.blocks) if isinstance(dims, CnnDims) else dims.layers
    assert (plain["blocks"], again["blocks"]) == (None, blocks)


@pytest.mark.parametrize("asked", parameters(can=False))
def test_what_would_not_recompute_says_so(ask: Ask, asked: Cell) -> None:
    said = ask("recompute", asked)["unsupported"]
    assert UNSUPPORTED[asked.backend, asked.mode] in said


@pytest.mark.backend("tensorflow")
@pytest.mark.skipif("tensorflow" not in selected(), reason="TensorFlow is not selected")
def test_tensorflow_does_not_recompute_what_parameter_servers_keep(ask: Ask) -> None:
    settings = {"recompute": "on", "sharding": "on"}
    asked = cell("tensorflow", "cnn", mode="graph", world_size=2, settings=settings)
    assert "parameter server" in ask("recompute", asked)["unsupported"]
