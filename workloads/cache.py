"""The cache on disk: where it is, and how a folder in it comes to be whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import UsageError

MADE = "made.json"
"""File name -> sha256 of every file in a made folder."""


def root() -> Path:
    """$BENCH_CACHE, else framework-pilot below $XDG_CACHE_HOME or ~/.cache."""
    if own := os.environ.get("BENCH_CACHE"):
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).absolute() if base else Path.home() / ".cache") / "framework-pilot"


def made(folder: Path, make: Callable[[Path], None]) -> Path:
    """``folder``, filled by ``make`` if it is not there yet.

    ``make`` gets a scratch folder that is renamed when it returns, so a reader never sees half
    of it; a second process waits for the first. What a killed process left is made anew.
    """
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(folder.name + ".lock")):
            if not folder.is_dir():
                scratch = folder.with_name(folder.name + ".tmp")
                shutil.rmtree(scratch, ignore_errors=True)  # what is left shows in mkdir
                scratch.mkdir()
                make(scratch)
                scratch.rename(folder)
    except OSError as error:
        raise UsageError(
            f"cannot write to the cache {root()}: {error}; "
            "set BENCH_CACHE to a folder that can be written and has 500 MB of room"
        ) from error
    return folder


def seal(folder: Path) -> None:
    """Write the sha256 of the files of a folder beside them; ``made`` folders end with this."""
    sums = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    (folder / MADE).write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8")


def sums(folder: Path) -> dict[str, str]:
    """What ``seal`` wrote; the files themselves are not read again."""
    try:
        value = json.loads((folder / MADE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} is damaged ({error}): remove it and run again") from error
    return {str(name): str(digest) for name, digest in value.items()}


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock; the kernel releases it when the process dies.

    The lock file stays: removing it would let a third process lock a new file while a second
    one still waits on the old.
    """
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
