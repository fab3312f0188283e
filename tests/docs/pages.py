"""What the pages tell a reader to type: commands in blocks, commands and options in sentences."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from tests.harness import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
BLOCK = re.compile(r"^```(?P<language>[\w-]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
OURS = re.compile(r"(make|bench|\.venv/bin/\S+) ")
OUTPUT = {"text", "toml", "python", "json", "csv", "yaml"}
"""Languages of blocks that nobody types into a shell."""
SHELL = {"bash", "console", ""}


class Command(NamedTuple):
    """printed: the lines that a page shows below it; ``...`` stands for any."""

    page: str
    words: tuple[str, ...]
    printed: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def commands() -> list[Command]:
    """Of all blocks, each once a page."""
    found = (
        Command(page.relative_to(ROOT).as_posix(), tuple(words(line)), tuple(printed))
        for page in PAGES
        for block in BLOCK.finditer(page.read_text(encoding="utf-8"))
        for line, printed in typed(block["language"], block["text"])
    )
    return list(dict.fromkeys(found))


def typed(language: str, text: str) -> Iterator[tuple[str, list[str]]]:
    """Lines that are typed, with those printed below: in ``bash`` all are typed, in ``console``
    those behind a ``$``; in a block that does not say what it is, those that begin with a program
    of ours.
    """
    if language in OUTPUT:
        return
    assert language in SHELL, f"say what a block of {language!r} is: {SHELL | OUTPUT}"
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    if language == "console":
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            line, *printed = part.splitlines()
            yield line, printed
        return
    yield from ((line, []) for line in lines if language == "bash" or OURS.match(line))


def words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def spans() -> Iterator[tuple[str, list[str]]]:
    """Commands and options in sentences, as ``bench compare`` and ``--margin``."""
    for page in PAGES:
        prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
        for span in SPAN.findall(prose):
            if re.match(r"(make|bench|--[a-z]\S*)( |$)", span):
                yield page.relative_to(ROOT).as_posix(), span.split()
