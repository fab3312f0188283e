"""The environments as they lie on disk: ready, half-built, stale or missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backends.entry import Entry
from bench import backends_index
from bench.envs.build import INSTEAD, READY, home, interpreter, path_of, read_facts


@dataclass(frozen=True)
class State:
    """One environment as it lies on disk. mib and note only where known."""

    place: Path
    backend: str
    device: str
    kind: str  # "ready", "half-built", "stale", "instead" (a fallback is used) or "missing"
    mib: float | None = None
    note: str = ""


def states() -> list[State]:
    """Every environment that is there, and those that a backend's locks ask for and are not."""
    current = {
        path_of(backend, device)[0]: (backend, device)
        for backend in backends_index.names()
        for device in dict.fromkeys(_locks(backends_index.find(backend)))
    }
    folders = sorted(one for one in home().iterdir() if one.is_dir()) if home().exists() else []
    found = [_state(place, current.get(place)) for place in folders]
    # Only who measures fairness misses the public models' environments.
    absent = [
        place
        for place, (backend, device) in current.items()
        if place not in folders and device in backends_index.find(backend).locks
    ]
    return found + [State(place, *current[place], kind="missing") for place in absent]


def _locks(entry: Entry) -> tuple[str, ...]:
    return (*entry.locks, entry.public_lock) if entry.public else entry.locks


def _state(place: Path, wanted: tuple[str, str] | None) -> State:
    ready, instead = read_facts(place / READY), read_facts(place / INSTEAD)
    size = float(str(ready["mib"])) if ready else None
    if wanted is None:
        backend, _, device = place.name.rpartition("-")[0].rpartition("-")
        return State(place, backend, device, kind="stale", mib=size)
    if instead is not None:
        note = f"{instead['device']}: {instead['why']}"
        return State(place, *wanted, kind="instead", note=note)
    whole = ready is not None and interpreter(place).exists()
    return State(place, *wanted, kind="ready" if whole else "half-built", mib=size)
