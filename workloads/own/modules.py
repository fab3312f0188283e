"""A PyTorch module of the user's own, as far as it is known without running it."""

from __future__ import annotations

import re
from pathlib import Path

from bench.dims import ModuleDims
from bench.errors import UsageError
from workloads.own import sources

MODEL = "module"
FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
OURS = ("bench", "backends", "workloads")
"""Packages that a worker has imported already: another one of the name would not be found."""


def named(text: str) -> str:
    """``package.module:function``; ValueError in words for anything else."""
    if not FACTORY.fullmatch(text):
        raise ValueError(f"{text!r} is not package.module:factory, such as net:make")
    if text.partition(":")[0].partition(".")[0] in OURS:
        raise ValueError(f"{text!r} has a name of this program's own packages: rename yours")
    return text


def dims(factory: str, folder: Path) -> ModuleDims:
    """UsageError where the module is not in the folder."""
    folder = folder.resolve()  # as the places of what is imported are compared with it
    try:
        found = sources.digest(folder, factory.partition(":")[0])
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error
    return ModuleDims(factory, str(folder), found)


def size_name(factory: str) -> str:
    """What ``[size.NAME]`` may be called: the function's name, as far as the letters go."""
    name = re.sub(r"[^a-z0-9.]+", "-", factory.partition(":")[2].lower()).strip("-.")[:34]
    return f"module-{name}".rstrip("-.")
