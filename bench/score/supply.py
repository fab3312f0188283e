"""Security: what the locks say of each backend's supply chain. Pure, but for reading the locks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bench import backends_index
from bench.envs import locks
from bench.score.evidence import Evidence, Subject, certain, half

PACKAGES_HALF = 50.0  # each package is somebody to trust; fifty of them cost half the marks
SOURCES_HALF = 2.0  # building runs the package's code before anything was looked at
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


class Pin(NamedTuple):
    """One package of a lock."""

    name: str
    version: str
    hashed: bool


def pins(path: Path) -> list[Pin]:
    """What a lock installs; nothing where there is no such lock."""
    if not path.is_file():
        return []
    parts = _PIN.split(path.read_text(encoding="utf-8"))[1:]
    whole = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    return [Pin(name, version, "--hash=" in block) for name, version, block in whole]


def packages(backend: str) -> dict[str, str]:
    """Name -> version of a backend's CPU lock."""
    return {pin.name: pin.version for pin in pins(_path(backend))}


def security(backends: Iterable[str]) -> list[Evidence]:
    """Of each backend's CPU lock: hashed packages, source builds, number of packages."""
    return [found for backend in backends for found in _of_lock(backend, _path(backend))]


def _path(backend: str) -> Path:
    """Rows outlive packages: a backend that is not installed any more has no lock to look at."""
    here = backend in backends_index.names()
    return locks.lock_file(backend, "cpu") if here else locks.LOCKS / f"{backend}-cpu.txt"


def _of_lock(backend: str, path: Path) -> list[Evidence]:
    found = pins(path)
    if not found:
        return []
    names = {pin.name for pin in found}
    sources = sum(one in names for one in backends_index.find(backend).sources)
    count, wheels = len(found), sum(pin.hashed for pin in found) - sources
    ours = path.is_relative_to(locks.ROOT)
    source = (str(path.relative_to(locks.ROOT) if ours else path),)

    def about(name: str) -> Subject:
        return Subject(backend, "security", name, source)

    return [
        certain(about("hashed wheels"), wheels, f"of {count} packages", share=wheels / count),
        certain(about("source builds"), sources, "packages", share=half(sources, SOURCES_HALF)),
        certain(about("packages"), count, "packages", share=half(count, PACKAGES_HALF)),
    ]
