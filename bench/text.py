"""Texts that somebody else wrote, made fit to be printed or put into markdown. Pure."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")


def plain(text: str) -> str:
    """One line without control characters: a reason quotes a process that may have sent any."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def unmarked(text: str) -> str:
    """Nothing of it becomes markup: an issue renders HTML and links, and calls people."""
    found = plain(text)
    for character in "\\`*_[]<>|":
        found = found.replace(character, "\\" + character)
    return found.replace("@", "@\u200b")


def without_password(text: str) -> str:
    """With no user and no password in an address: ``https://***@host``."""
    return _CREDENTIALS.sub("***@", text)
