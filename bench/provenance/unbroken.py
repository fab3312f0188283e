"""Whether a results file, and the raw times beside it, are still what its manifest vouches for."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.errors import UsageError
from bench.provenance.findings import BROKEN, OK, UNVERIFIABLE, Finding
from bench.rows import manifest, reading
from bench.rows.manifest import Entry
from bench.rows.places import manifest_path, steps_path

CHECK = "manifest"
MISSING = "is missing"


def findings(path: Path) -> Iterator[Finding]:
    """Of one results file: the first line that is not as it was, of each of its parts."""
    beside = manifest_path(path)
    if not beside.exists():
        said = "no manifest: made before there were any, or somebody has taken it away"
        yield Finding(CHECK, UNVERIFIABLE, said, str(path))
        return
    known = manifest.entries(reading.bytes_of(beside))
    standing = manifest.standing(known)
    found = [
        *_links(beside, known),
        *_rows(path, beside, standing),
        *_times(steps_path(path), standing),
    ]
    dropped = sum(entry is not None and entry.times == manifest.DROPPED for entry in known)
    whole = "unbroken" + (", with rows that a resumed run took out again" if dropped else "")
    yield from found or [Finding(CHECK, OK, whole, str(path))]


def _links(beside: Path, known: Sequence[Entry | None]) -> Iterator[Finding]:
    """The first line that the one before it does not lead to."""
    before = manifest.NONE
    for number, entry in enumerate(known, 1):
        if entry is None or manifest.link(before, entry.row, entry.times) != entry.link:
            said = "a line of the manifest was changed, or one before it taken out, added or moved"
            yield Finding(CHECK, BROKEN, said, f"{beside}, line {number}")
            return
        before = entry.link


def _rows(path: Path, beside: Path, standing: Sequence[Entry]) -> Iterator[Finding]:
    held = [manifest.sha256(line) for line in manifest.lines(reading.bytes_of(path))]
    wanted = [entry.row for entry in standing]
    if (difference := first_difference(wanted, held)) is None:
        return
    what, at = difference
    if what == MISSING:
        kill = at == len(held)
        said = f"a row {what}" + (" at the end: a kill leaves that, --resume goes on" * kill)
        yield Finding(CHECK, BROKEN, said, f"{beside}, line {standing[at].number}")
    else:
        subject = "a row" if at else "the header"
        yield Finding(CHECK, BROKEN, f"{subject} {what}", f"{path}, line {at + 1}")


def _times(path: Path, standing: Sequence[Entry]) -> Iterator[Finding]:
    wanted = [entry.times for entry in standing if entry.times != manifest.NONE]
    try:
        data = reading.bytes_of(path) if path.exists() else b""
        members = list(reading.members(path, data))
    except UsageError as error:
        yield Finding(CHECK, BROKEN, "the raw times cannot be read", str(error))
        return
    held = [manifest.sha256(gzip.decompress(data[start:end])) for start, end, _ in members]
    held += ["torn"] if data[members[-1][1] if members else 0 :] else []
    if (difference := first_difference(wanted, held)) is not None:
        what, at = difference
        yield Finding(CHECK, BROKEN, f"a line of raw times {what}", f"{path}, line {at + 1}")


def first_difference(wanted: Sequence[str], held: Sequence[str]) -> tuple[str, int] | None:
    """What has happened to the first line that is not as it was, and its index: in ``wanted`` where
    it is missing, else in ``held``. They agree up to there, so it is the same.
    """
    pairs = enumerate(zip(wanted, held, strict=False))
    at = next((at for at, (one, other) in pairs if one != other), min(len(wanted), len(held)))
    if at == len(wanted) == len(held):
        return None
    gone = at < len(wanted) and wanted[at] not in held[at:]
    new = at < len(held) and held[at] not in wanted[at:]
    if at == len(held) or (gone and not new):
        return MISSING, at
    if gone:
        return "was changed", at
    return ("was added", at) if new or at == len(wanted) else ("was moved", at)
