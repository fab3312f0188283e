"""The errors of the parent half, and what the program exits with.

BenchError (bench.contract)
 +-- UsageError      the user can mend it; one line that names the mend; exit code 2
 +-- EnvError        an environment cannot be made or used; its cells become env_failed rows
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from bench.contract import BenchError
from bench.text import redacted

EXIT_OK = 0
EXIT_NO = 1
EXIT_USAGE = 2
EXIT_NOTHING = 3
EXIT_INTERRUPTED = 130


class UsageError(BenchError):
    """Bad input from the user; the message is one line and says how to mend it."""


class EnvError(BenchError):
    """A backend's environment cannot be built or does not import its framework.

    Its words are often an installer's, and stand in rows: no password of an index is kept.
    """

    def __init__(self, words: str) -> None:
        super().__init__(redacted(words))


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not among the known ones, with the nearest of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UsageError(f"unknown {what} {name!r}: {hint}one of {', '.join(names)}")
