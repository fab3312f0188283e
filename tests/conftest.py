"""What every test relies on: no setting of the user's reaches a test."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.browser import chromium

SHARED = ("test_adapters.py", "test_capabilities.py", "test_precision.py", "test_recompute.py")
"""Their tests ask one process of a backend, which imports its framework once."""


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """BENCH_* variables choose environments and caches: a test sets its own or has none.

    BENCH_BACKENDS stays, which selects what the contract tests run, and so do the folders for
    environments and data, which only say where things that tests may share are kept.
    """
    kept = {"BENCH_BACKENDS", "BENCH_ENVS", "BENCH_CACHE"}
    for name in [name for name in os.environ if name.startswith("BENCH_") and name not in kept]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One Chromium for all tests of a process: Playwright starts once in it."""
    from playwright.sync_api import sync_playwright

    found = chromium.find()
    if found is None:
        if os.environ.get("BENCH_NO_SKIPS"):
            pytest.fail(chromium.lacking())
        pytest.skip(chromium.lacking())
    with sync_playwright() as playwright:
        # Root has no user namespaces to put the sandbox in; the pages are our own.
        running = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return ByProcess(config, log)


class ByProcess(LoadScopeScheduling):
    """Which tests one of pytest's processes runs: a file's, for they share its fixtures; of the
    contract, which takes minutes, each by itself, but those that share a backend's process.

    Not by the mark ``xdist_group``: under pytest 9.2 and xdist 3.8 it groups nothing.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        if "/contract/" not in file:
            return file
        if file.endswith(SHARED) and "[" in test:
            return re.split(r"[^a-z]", test.partition("[")[2])[0]  # test_name[backend-model]
        return nodeid
