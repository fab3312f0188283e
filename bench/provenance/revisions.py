"""What git still has of the revisions that rows name."""

from __future__ import annotations

import functools
import os
import re
import subprocess

from bench.machine import ROOT

GIT_S = 30.0
DIRTY = re.compile(r"(\+|-dirty)$")
_HASH = re.compile(r"(?:.+-g)?([0-9a-f]{7,40})")  # as `git describe --always` writes it
_TAG = re.compile(r"\w[\w.-]*")


@functools.cache
def commit(named: str) -> str | None:
    """The full hash of a row's revision, its mark of local changes left aside; None where this
    clone lacks it, or is none.
    """
    name = DIRTY.sub("", named)
    if match := _HASH.fullmatch(name):
        name = match[1]
    elif _TAG.fullmatch(name):
        name = f"refs/tags/{name}"
    else:
        return None
    found = _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    return found.decode().strip() if found else None


def clean(named: str) -> str | None:
    """The same of a revision without local changes: what the program was; else None."""
    return None if DIRTY.search(named) else commit(named)


@functools.cache
def names(revision: str, folder: str) -> list[str]:
    """Of the files in a folder, as it was."""
    listed = _git("ls-tree", "--name-only", "-z", revision, f"{folder}/") or b""
    return [path.rpartition("/")[2] for path in listed.decode().split("\0") if path]


@functools.cache
def text(revision: str, path: str) -> bytes | None:
    """A file as it was; None where it was not there."""
    return _git("cat-file", "blob", f"{revision}:{path}")


def _git(*arguments: str) -> bytes | None:
    """Its standard output; None where it fails or is not there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments],
            # Of a partial clone, what it lacks is not fetched now.
            env={**os.environ, "GIT_NO_LAZY_FETCH": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
