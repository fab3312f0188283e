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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Which tests one of pytest's processes has to run: a file's, for they share its fixtures.
    Those of the contract take minutes and share none; where some do, they say so themselves.

    The slow ones come first, and what mostly waits runs beside what computes.
    """
    for item in items:
        if "contract" not in item.path.parts:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
