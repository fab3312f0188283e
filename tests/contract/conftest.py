"""The fixture that asks an adapter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backends.registry import BACKENDS
from bench.contract import Cell
from tests.contract.asking import Result, in_environment
from workloads import prepare

Ask = Callable[..., Result]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Run one check of driver.py: ``ask(check, cell, reader=..., cells=...)``."""

    def run(
        check: str, asked: Cell, *, reader: str = "", cells: dict[str, Cell] | None = None
    ) -> Result:
        backend = reader or asked.backend
        prepared = prepare.ensure(asked.model, "tiny")
        weights = prepared.weights if asked.trains else prepared.export_weights
        task = {
            "module": BACKENDS[backend].module,
            "capabilities": BACKENDS[backend].capabilities,
            "check": check,
            "cell": asked.to_json(),
            "cells": {name: one.to_json() for name, one in (cells or {}).items()},
            "files": {
                "weights": str(weights),
                "data": str(prepared.data),
                "folder": str(tmp_path / "exported"),
                "logits": str(tmp_path / "logits.npz"),
            },
        }
        return in_environment(backend, task, folder=tmp_path)

    return run
