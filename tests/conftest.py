"""What every test relies on: no setting of the user's reaches a test."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """BENCH_* variables choose environments and caches: a test sets its own or has none.

    BENCH_BACKENDS stays, which selects what the contract tests run, and so do the folders for
    environments and data, which only say where things that tests may share are kept.
    """
    kept = {"BENCH_BACKENDS", "BENCH_ENVS", "BENCH_CACHE"}
    for name in [name for name in os.environ if name.startswith("BENCH_") and name not in kept]:
        monkeypatch.delenv(name)
