"""What a lock may hold: packages of an index, each of one version, with its hashes.

What is installed from a source distribution runs its author's code before anybody could look at
it: uv is told to take wheels only (``bench.envs.build``), but for the registry's ``sources``, each
of which has its reason there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def problems(lock: Path) -> list[str]:
    """What in a lock is not a package of one version with its hashes, one line each."""
    found = _requirements(lock.read_text(encoding="utf-8"))
    return [f"{lock.name}, line {at}: {said}" for at, line in found if (said := _problem(line))]


def unexplained(sources: Mapping[str, str]) -> list[str]:
    """Of a registry's ``sources``: those without a reason."""
    silent = [name for name, why in sources.items() if not why.strip()]
    return [f"{name} is built from source, and no reason is given" for name in silent]


def names(lock: Path) -> set[str]:
    """Of the packages in it, normalised."""
    lines = (line for _, line in _requirements(lock.read_text(encoding="utf-8")))
    heads = (re.match(r"[A-Za-z0-9._-]+", line) for line in lines)
    return {str(canonicalize_name(head[0])) for head in heads if head}


def _requirements(text: str) -> Iterator[tuple[int, str]]:
    """The first line's number, and all of it, of each entry; a backslash goes on with it."""
    entry, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        part = line.partition(" #")[0].strip() if not line.lstrip().startswith("#") else ""
        first = first if entry else number
        entry += part.removesuffix("\\")
        if entry and not part.endswith("\\"):
            yield first, entry.strip()
            entry = ""
    if entry:
        yield first, entry.strip()


def _problem(entry: str) -> str:
    """Of one entry; empty where there is none."""
    text, *options = re.split(r"\s(?=--)", entry)
    try:
        wanted = Requirement(text)
    except InvalidRequirement:
        return f"{entry[:40]!r} is not a package and its version"
    if wanted.url:
        return f"{wanted.name} is from a place of its own"
    versions = [one for one in wanted.specifier if one.operator in ("==", "===")]
    if len(wanted.specifier) != 1 or not versions or versions[0].version.endswith("*"):
        return f"{wanted.name} is not pinned to one version"
    hashes = [option.strip() for option in options]
    if not hashes:
        return f"{wanted.name} has no hash"
    wrong = [option for option in hashes if not HASH.fullmatch(option)]
    return f"{wanted.name}: {wrong[0][:40]!r} is no SHA-256" if wrong else ""
