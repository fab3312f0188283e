"""The manifest beside a results file: what each of its lines was when it was written.

Parent half. ``x.sha256`` beside ``x.csv`` has a line for the header and one for each row::

    ROW TIMES LINK

ROW: SHA-256 of the CSV's line, its newline included. TIMES: of the line of raw times that belongs
to it, as ``zcat`` shows it; ``-`` where there is none; ``dropped`` where a resumed run has taken
the row out again. LINK: of the text ``BEFORE ROW TIMES`` and a newline, where BEFORE is the LINK of
the line before, ``-`` in the first. So nothing can be changed, left out, added or moved without
changing every LINK behind it.

It is only ever appended to, and a row's line stands before the row itself: a kill between the two
leaves a line without a row, which ``--resume`` marks as dropped; never a row that nothing vouches
for. What was not hashed when it was made is never hashed later: a file that was begun without a
manifest goes on without one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench.rows import disk
from bench.rows.places import manifest_path

NONE = "-"
DROPPED = "dropped"
_SPLIT = re.compile(rb"[^\n]*\n|[^\n]+")
_LINE = re.compile(rb"([0-9a-f]{64}) ([0-9a-f]{64}|-|dropped) ([0-9a-f]{64})\n")


class Entry(NamedTuple):
    """One line; ``number`` is its place, from 1."""

    number: int
    row: str
    times: str
    link: str


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def link(before: str, row: str, times: str) -> str:
    """What binds a line to the one before it."""
    return sha256(f"{before} {row} {times}\n".encode())


def lines(data: bytes) -> list[bytes]:
    """Each with its newline, which the last may lack; a carriage return ends none."""
    return _SPLIT.findall(data)


def entries(data: bytes) -> list[Entry | None]:
    """Of a manifest's lines; None for what is not a line of a manifest."""
    return [_entry(number, line) for number, line in enumerate(lines(data), 1)]


def _entry(number: int, line: bytes) -> Entry | None:
    match = _LINE.fullmatch(line)
    return Entry(number, *(part.decode() for part in match.groups())) if match else None


def standing(known: Iterable[Entry | None]) -> list[Entry]:
    """The entries of what should be in the file now, in order: those not dropped since."""
    found: list[Entry] = []
    for entry in known:
        if entry is not None and entry.times == DROPPED:
            last = [at for at, one in enumerate(found) if one.row == entry.row][-1:]
            found = [one for at, one in enumerate(found) if at not in last]
        elif entry is not None:
            found.append(entry)
    return found


def content(lines: Iterable[tuple[bytes, bytes | None]]) -> bytes:
    """A whole manifest, of the CSV's lines with their raw times."""
    before, made = NONE, []
    for line, times in lines:
        row, raw = sha256(line), sha256(times) if times is not None else NONE
        before = link(before, row, raw)
        made.append(f"{row} {raw} {before}\n")
    return "".join(made).encode()


class Manifest:
    """Of a file that is being written; fd: None where the file goes on without a manifest."""

    def __init__(self, fd: int | None, *, before: str = NONE) -> None:
        self._fd = fd
        self._before = before

    @classmethod
    def resume(cls, results: Path, *, held: bytes, kept: bytes) -> Manifest:
        """Go on with that of ``results``, of whose content ``held`` only ``kept`` stays.

        What goes is marked as dropped, and so is what a kill has kept from being written. Anything
        else that is not as it was stays as it is, for ``bench verify`` to find.
        """
        path, stay = manifest_path(results), lines(kept)
        if not path.exists() and len(stay) > 1:
            return cls(None)
        fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o666)
        try:
            data = path.read_bytes()
            data = data[: data.rfind(b"\n") + 1]  # the last may be torn
            os.ftruncate(fd, len(data))
            known = entries(data)
            made = cls(fd, before=next((one.link for one in reversed(known) if one), NONE))
            if not known and len(stay) == 1:
                made.append(kept, None)
            for entry in _lost(standing(known), held=held, stay=stay):
                made._write(entry.row, DROPPED)
        except OSError:
            os.close(fd)
            raise
        return made

    def append(self, line: bytes, times: bytes | None) -> None:
        """Vouch for a line of the CSV, and its raw times, which are about to be written."""
        self._write(sha256(line), sha256(times) if times is not None else NONE)

    def _write(self, row: str, times: str) -> None:
        if self._fd is None:
            return
        now = link(self._before, row, times)
        disk.append(self._fd, f"{row} {times} {now}\n".encode())
        self._before = now

    @contextlib.contextmanager
    def undone_unless(self, written: int, size: int) -> Iterator[None]:
        """Take back what is appended inside, where that fails before the file with the descriptor
        ``written`` has grown beyond ``size``.
        """
        end, before = os.fstat(self._fd).st_size if self._fd is not None else 0, self._before
        try:
            yield
        except BaseException:
            if self._fd is not None and os.fstat(written).st_size == size:
                os.ftruncate(self._fd, end)
                self._before = before
            raise

    def sync(self) -> None:
        if self._fd is not None:
            os.fsync(self._fd)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)


def _lost(known: list[Entry], *, held: bytes, stay: list[bytes]) -> list[Entry]:
    """Of what should be in the file: what is taken out now, and what a kill kept from coming in.

    That can only be the last ones, and no more than the file lacks: a line that somebody took out
    of the middle, or changed, is not among them.
    """
    left = {sha256(line) for line in stay}
    taken = {sha256(line) for line in lines(held)} - left
    lost = [entry for entry in known if entry.row in taken]
    rest = [entry for entry in known if entry.row not in taken]
    while len(rest) > max(1, len(stay)) and rest[-1].row not in left:
        lost.append(rest.pop())
    return lost
