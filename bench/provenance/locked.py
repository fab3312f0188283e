"""``bench verify --locks``: whether every lock holds only hashed packages, and sources with why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from packaging.utils import canonicalize_name

from bench import backends_index
from bench.envs import hashed, locks
from bench.provenance.findings import BROKEN, OK, Finding

CHECK = "locks"


def findings() -> Iterator[Finding]:
    """Of every backend's locks, the harness's and the data's."""
    paths = [locks.HARNESS / "harness.txt", locks.ROOT / "workloads" / "data.lock"]
    for name in backends_index.names():
        own = sorted(locks.lock_file(name, "cpu").parent.glob(f"{name}-*.txt"))
        paths += own
        yield from _sources(name, own)
    for path in paths:
        broken = [Finding(CHECK, BROKEN, said) for said in hashed.problems(path)]
        yield from broken or [Finding(CHECK, OK, "every package has a version and hashes")]


def _sources(backend: str, paths: list[Path]) -> Iterator[Finding]:
    """What a backend builds from source: listed with its reason, and still in a lock."""
    sources = backends_index.find(backend).sources
    for said in hashed.unexplained(sources):
        yield Finding(CHECK, BROKEN, f"{backend}: {said}")
    known = {name for path in paths for name in hashed.names(path)}
    for source, why in sources.items():
        if canonicalize_name(source) not in known:
            said = f"{backend}: {source} is listed as a source, and in no lock"
            yield Finding(CHECK, BROKEN, said)
        elif why.strip():
            yield Finding(CHECK, OK, f"{backend}: {source} is built from source: {why}")
