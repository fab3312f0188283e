"""What is wrong with an entry before any worker is started."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from backends.entry import Entry
from bench import backends_index, grid
from bench.check_backend.judges import MISSING, OK, WITHOUT, WRONG, Finding
from bench.child.scratch import place
from bench.envs import locks
from bench.errors import UsageError


def entry(backend: str, found: Entry) -> Iterator[Finding]:
    """The module, the words of the grid, and a hashed lock for every device."""
    for module in filter(None, (found.module, found.capabilities, found.public)):
        try:
            where = place(module.partition(".")[0])
            yield Finding(OK, f"entry: {module}", f"in {where}")
        except UsageError as error:
            yield Finding(MISSING, f"entry: {module}", str(error))
    yield _words("modes", found.modes, grid.MODES, needed=True)
    yield _words("formats", found.formats, grid.FORMATS, needed=False)
    known = backends_index.names()
    if strangers := sorted(set(found.formats.values()) - set(known)):
        yield Finding(WRONG, "entry: readers of its formats", f"no backends: {strangers}")
    if not found.capabilities:
        yield Finding(WITHOUT, "entry: capabilities", "no module: the workload capability is not")
    for device in found.locks:
        yield _lock(backend, device)


def _words(field: str, named: Iterable[str], known: tuple[str, ...], *, needed: bool) -> Finding:
    names = list(named)
    strange = [name for name in names if name not in known]
    if strange or (needed and not names):
        said = f"{strange or 'none'}: it has to be of {', '.join(known)}"
        return Finding(WRONG, f"entry: {field}", said)
    return Finding(OK if names else WITHOUT, f"entry: {field}", ", ".join(names) or "none")


def _lock(backend: str, device: str) -> Finding:
    file = locks.lock_file(backend, device)
    mend = f"write {file.with_suffix('.in')} and compile it: {locks.BY_NAME}"
    what = f"entry: lock for {device}"
    if not file.is_file():
        return Finding(MISSING, what, f"no {file}; {mend}")
    text = file.read_text(encoding="utf-8")
    if "--hash=sha256:" not in text:
        return Finding(WRONG, what, f"{file} has no hashes; {mend}")
    return Finding(OK, what, str(file))
