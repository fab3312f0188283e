"""Each test has a page of its own, which remembers what went wrong on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Page

from bench.cli import main
from tests.harness import ROOT

ROWS = ROOT / "results" / "epyc-vm-2cpu" / "20261123T190515Z-2fc475db.csv"
"""All ten at small: 40 committed rows."""


@dataclass
class Watched:
    """A page, and what its browser complained about or asked the world for."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, path: Path) -> Page:
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("[data-chart=ranking] svg")
        return self.page


@pytest.fixture
def watched(browser) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    made = Watched(context.new_page())
    made.page.on("pageerror", lambda error: made.errors.append(str(error)))
    made.page.on(
        "console", lambda said: made.errors.append(said.text) if said.type == "error" else None
    )
    made.page.on("request", lambda request: made.requests.append(request.url))
    yield made
    context.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory) -> Path:
    """The page of the committed rows."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    assert main(["report", str(ROWS), "-o", str(out), "--draws", "500"]) == 0
    return out
