"""The files that a user names: whether they are there, and their content as a hash."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from workloads import Own, cache


def source(kind: str, paths: dict[str, str], options: dict[str, Any]) -> Own:
    """With the hashes of the content. UsageError where a file is not there."""
    return Own(kind, paths, {part: sha256(Path(path)) for part, path in paths.items()}, options)


def check(own: Own) -> None:
    """UsageError where the files are not those any more that were planned with."""
    for part, path in own.paths.items():
        if sha256(Path(path)) != own.sha256[part]:
            raise UsageError(f"{path} was changed after the run had begun: run again")


def sha256(path: Path) -> str:
    """Of a file, or of a folder of folders: of the names and the contents of ``within``."""
    try:
        if not path.is_dir():
            return _of_file(path, *_stamp(path))
        parts = [
            f"{one.relative_to(path).as_posix()}\0{'' if one.is_dir() else sha256(one)}\n"
            for one in within(path)
        ]
    except OSError as error:
        raise UsageError(
            f"cannot read {path} ({error.strerror}): paths are relative to the pilot file"
        ) from error
    return hashlib.sha256("".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def within(folder: Path) -> list[Path]:
    """What is in a folder and in the folders in it, in an order that no machine changes. No deeper:
    a link may lead back.
    """
    found = [
        one for each in folder.iterdir() for one in (each.iterdir() if each.is_dir() else [each])
    ]
    return sorted(found)


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


@functools.cache
def _of_file(path: Path, _size: int, _mtime_ns: int) -> str:
    """Read once in a process, as long as its size and time stay what they are."""
    return cache.sha256(path)
