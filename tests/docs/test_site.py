"""The pages as ``make docs`` builds them: complete, sound, and without a byte from another host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench import cli, parity, pilot_file
from bench.rows import schema
from tests.harness import ROOT

LOADS = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}
"""Elements for which a browser fetches something by itself, and the attribute that says what."""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """--strict: a link to nowhere, or a page that no menu names, is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = subprocess.run(
        [*command, "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Assets(HTMLParser):
    """Addresses that a page makes its browser fetch."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if (address := dict(attrs).get(LOADS.get(tag, ""))) is not None:
            self.found.append(address)


def test_no_page_names_an_asset_of_another_host(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        assets = Assets(page).found
        assert [one for one in assets if re.match(r"\w+:|//", one)] == [], page
        assert assets


def test_no_style_names_another_host(site):
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", style.read_text("utf-8"))


def reference(site: Path, name: str) -> str:
    return (site / "reference" / f"{name}.html").read_text(encoding="utf-8")


def test_the_reference_has_every_command_column_and_key(site):
    (commands,) = (one for one in cli.command_line()._actions if one.dest == "==SUPPRESS==")
    page = reference(site, "command-line")
    for name, command in commands.choices.items():
        assert f'id="bench-{name}"' in page
        options = (one for action in command._actions for one in action.option_strings)
        assert [one for one in options if one not in {"-h", "--help"} and one not in page] == []
    page = reference(site, "columns")
    assert [one.name for one in schema.COLUMNS if f"<code>{one.name}</code>" not in page] == []
    page = reference(site, "pilot-toml")
    assert [
        one for one in pilot_file.PilotFile.model_fields if f"<code>{one}</code>" not in page
    ] == []
    page = reference(site, "adapter-contract")
    assert [
        one for one in ("Cell", "Program", "Adapter") if f'id="{one.lower()}"' not in page
    ] == []


def test_no_page_has_markup_that_was_not_understood(site):
    """A table, a heading or a block that markdown took for a paragraph."""
    for page in site.rglob("*.html"):
        wrong = re.findall(r"<p>(\||#|```).*", page.read_text(encoding="utf-8"))
        assert wrong == [], page


def test_a_link_that_leaves_docs_becomes_the_place_in_the_repository(site):
    page = (site / "llm.html").read_text(encoding="utf-8")
    assert "what came out (<code>README.md</code>)" in page


def test_the_bounds_on_the_page_are_those_of_the_gate():
    page = (ROOT / "docs" / "why" / "parity.md").read_text(encoding="utf-8")
    for precision, bounds in parity.BOUNDS.items():
        values = (bounds.logits, bounds.first_loss, bounds.losses, bounds.after)
        (line,) = re.findall(rf"^\| {precision} \|(.*)\|$", page, re.MULTILINE)
        assert tuple(map(float, line.split("|"))) == values


def test_a_reader_without_a_server_finds_a_word(site, browser):
    """And the browser asks nobody but the disk."""
    page = browser.new_page()
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((site / "index.html").as_uri())
    # Typed, key by key: the search listens to keys.
    page.locator(".md-search__input").press_sequentially("precision-target")
    page.wait_for_selector(".md-search-result__item")
    assert "command-line.html" in page.inner_html(".md-search-result__list")
    assert [one for one in asked if not one.startswith(("file:", "data:"))] == []
    assert errors == []
