"""Texts that somebody else wrote, made fit to be printed or put into markdown. Pure."""

from __future__ import annotations

import re

_LOGIN = re.compile(r"://[^/\s]+@")


def redacted(text: str) -> str:
    """Without the user and the password of any URL: a site's index may be named with both."""
    return _LOGIN.sub("://***@", text)


def plain(text: str) -> str:
    """One line without control characters: a reason quotes a process that may have sent any."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def unmarked(text: str) -> str:
    """Nothing of it becomes markup: an issue renders HTML and links, and calls people."""
    found = plain(text)
    for character in "\\`*_[]<>|":
        found = found.replace(character, "\\" + character)
    return found.replace("@", "@\u200b")
