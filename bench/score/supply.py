"""Security: what the locks say of each backend's supply chain. Pure, but for reading the locks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from bench import backends_index
from bench.envs import locks
from bench.score.evidence import Evidence, Subject, certain, half

PACKAGES_HALF = 50.0  # each package is somebody to trust; fifty of them cost half the marks
SOURCES_HALF = 2.0  # building runs the package's code before anything was looked at
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)


def security(backends: Iterable[str]) -> list[Evidence]:
    """Of each backend's CPU lock: hashed packages, source builds, number of packages."""
    found = []
    for backend in backends:
        if backend not in backends_index.names():
            continue
        path = locks.LOCKS / f"{backend}-cpu.txt"
        if path.is_file():
            found += _of_lock(backend, path)
    return found


def _of_lock(backend: str, path: Path) -> list[Evidence]:
    text = path.read_text(encoding="utf-8")
    pins = _PIN.split(text)[1:]
    names, blocks = pins[::2], pins[1::2]
    hashed = sum("--hash=" in block for block in blocks)
    built = [one for one in backends_index.find(backend).sources if one in names]
    source = (str(path.relative_to(path.parents[2])),)
    count, sources = len(names), len(built)
    wheels = hashed - sources

    def about(name: str) -> Subject:
        return Subject(backend, "security", name, source)

    return [
        certain(about("hashed wheels"), wheels, f"of {count} packages", share=wheels / count),
        certain(about("source builds"), sources, "packages", share=half(sources, SOURCES_HALF)),
        certain(about("packages"), count, "packages", share=half(count, PACKAGES_HALF)),
    ]
