"""The backends that there are: this project's and those that other packages bring.

Another package adds one through the entry-point group ``bench.backends``: an entry point named
after the backend that loads a ``backends.entry.Entry``.
"""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint, entry_points

from backends.entry import Entry
from backends.registry import BACKENDS
from bench.errors import UsageError, unknown

GROUP = "bench.backends"


def names() -> tuple[str, ...]:
    """All backends, this project's first; nothing is imported for it."""
    return (*BACKENDS, *sorted(_others()))


def find(name: str) -> Entry:
    """The entry of one backend; only another package's is loaded, and only when asked for."""
    if name in BACKENDS:
        return BACKENDS[name]
    others = _others()
    if name not in others:
        raise unknown("backend", name, names())
    return _load(others[name])


@functools.cache
def _others() -> dict[str, EntryPoint]:
    """Entry points by name, less those that would replace one of this project's backends."""
    found = entry_points(group=GROUP)
    return {point.name: point for point in found if point.name not in BACKENDS}


def _load(point: EntryPoint) -> Entry:
    package = point.dist.name if point.dist else point.value
    mend = f"mend or uninstall the package {package}"
    try:
        entry = point.load()
    except Exception as error:  # another package's code may fail in any way
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UsageError(f"backend {point.name!r} does not load ({said}); {mend}") from error
    if not isinstance(entry, Entry):
        raise UsageError(
            f"backend {point.name!r}: {point.value} is no backends.entry.Entry; {mend}"
        )
    return entry
