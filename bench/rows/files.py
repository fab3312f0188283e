"""Results files: one CSV line a row, appended while a run goes on, read back with suspicion.

Parent half. Beside ``x.csv`` lie the raw times in ``x.steps.jsonl.gz``: one gzip member a row, so
that appending never rewrites, and a kill tears at most the last member; and ``x.sha256``, what each
line was when it was written (bench/rows/manifest.py).

A row is written by one ``write`` and not synced: what the kernel has survives any death of this
process, SIGKILL included, for some microseconds. A sync would protect only against the machine's
own death, at up to several milliseconds a row on a shared disk; closing the file syncs it once.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.contract import BenchError
from bench.errors import UsageError
from bench.rows import disk, reading, schema
from bench.rows.manifest import Manifest
from bench.rows.places import default_path, parts, steps_path
from bench.rows.reading import read, read_steps
from bench.rows.schema import Row

__all__ = [
    "ResultFile",
    "RowError",
    "default_path",
    "finished",
    "read",
    "read_steps",
    "steps_path",
]

Key = tuple[str, int]
"""cell_id and repeat: what a run does once."""

Times = Mapping[str, int | Sequence[int]]
"""``block_steps``, ``block_ns`` and ``step_ns`` of one row."""


class RowError(BenchError):
    """A row contradicts itself and was not written; ``problems`` are its contradictions."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class ResultFile:
    """The results file that a run writes, locked against any other run.

    path: the CSV. rows: what it holds. done: the keys of these rows.
    """

    def __init__(
        self, path: Path, *, fd: int, steps_fd: int, manifest: Manifest, rows: Iterable[Row] = ()
    ) -> None:
        self.path = path
        self.rows = list(rows)
        self.done = {_key(row) for row in self.rows}
        self._fd = fd
        self._steps_fd = steps_fd
        self._manifest = manifest

    @property
    def run_id(self) -> str | None:
        """The run that the rows are of; None as long as there are none."""
        return self.rows[0]["run_id"] if self.rows else None

    @classmethod
    def create(cls, path: Path) -> Self:
        """Start a new file, with its folders; UsageError if that cannot be."""
        made: list[tuple[int, Path]] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for part in parts(path):
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND
                made.append((os.open(part, flags, 0o666), part))
            disk.lock(made[0][0], path)
            manifest = Manifest(made[2][0])
            manifest.append(schema.HEADER, None)
            disk.append(made[0][0], schema.HEADER)
        except (OSError, ValueError, UsageError) as error:
            for fd, part in made:
                os.close(fd)
                part.unlink()
            if isinstance(error, UsageError):
                raise
            raise UsageError(_cannot_create(path, error)) from error
        return cls(path, fd=made[0][0], steps_fd=made[1][0], manifest=manifest)

    @classmethod
    def resume(cls, path: Path) -> Self:
        """Go on with ``path``: a torn last line and interrupted rows are dropped, to be run again.

        UsageError if the file is in use, cannot be written, or is broken anywhere else.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND)
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot resume {path}: {reading.words(error)}") from error
        manifest, home = Manifest(None), path.resolve()
        try:
            disk.lock(fd, path)
            held = path.read_bytes()
            kept, rows = _resumable(path, held)
            manifest = Manifest.resume(home, held=held, kept=kept)
            if kept != held:
                fd = disk.replaced(path, kept, old=fd)
            steps_fd = _resume_steps(steps_path(home), keys={_key(row) for row in rows})
        except (OSError, UsageError) as error:
            manifest.close()
            os.close(fd)
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"cannot resume {path}: {reading.words(error)}") from error
        return cls(path, fd=fd, steps_fd=steps_fd, manifest=manifest, rows=rows)

    def append(self, row: Row, times: Times | None = None) -> None:
        """Write one row and its raw times.

        Raises RowError, with nothing written, for a row that contradicts itself, the file or the
        columns; UsageError, with all files as they were, where the disk takes no more.
        """
        if problems := self._refused(row):
            raise RowError(problems)
        size, before = os.fstat(self._fd).st_size, os.fstat(self._steps_fd).st_size
        fields = schema.text(row)
        try:
            with self._manifest.undone_unless(self._fd, size):
                self._write(fields, times)
        except BaseException as error:
            if os.fstat(self._fd).st_size == size:
                os.ftruncate(self._steps_fd, before)
            if not isinstance(error, OSError):
                raise
            raise UsageError(
                f"cannot write {self.path}: {reading.words(error)}; every row before this one is in"
                " it: make room and go on with --resume"
            ) from error
        self.rows.append(schema.typed(fields))
        self.done.add(_key(row))

    def _write(self, fields: Mapping[str, str], times: Times | None) -> None:
        line, raw = schema.line(fields.values()), None
        # The row last: a kill in between leaves times and a line of the manifest without a row,
        # which resume drops, and never a row without them.
        if times is not None:
            key = {"cell_id": fields["cell_id"], "repeat": int(fields["repeat"])}
            raw = f"{json.dumps(key | dict(times))}\n".encode()
            disk.append(self._steps_fd, gzip.compress(raw, compresslevel=1, mtime=0))
        self._manifest.append(line, raw)
        disk.append(self._fd, line)

    def close(self) -> None:
        """Wait until the disk has everything, and let go of the lock."""
        try:
            os.fsync(self._fd)
            os.fsync(self._steps_fd)
            self._manifest.sync()
        except OSError as error:  # some network file systems report a full disk only now
            raise UsageError(f"{self.path} may lack rows: {reading.words(error)}") from error
        finally:
            os.close(self._fd)
            os.close(self._steps_fd)
            self._manifest.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _refused(self, row: Row) -> list[str]:
        problems = [f"there is no column {name!r}" for name in row if name not in schema.BY_NAME]
        problems += schema.contradictions(row)
        if not problems and _key(row) in self.done:
            problems.append(f"{self.path} has a row of this cell and repeat already")
        if not problems and self.run_id not in (None, row["run_id"]):
            problems.append(f"run_id is {row['run_id']}, but {self.path} is of {self.run_id}")
        return problems


def _key(row: Row) -> Key:
    return row["cell_id"], row["repeat"]


def _cannot_create(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, FileExistsError) and str(error.filename) == str(path):
        if path.is_dir():
            return f"{path} is a folder: name a file, such as {path / 'rows.csv'}"
        return f"{path} exists already: name another file, or go on with it with --resume"
    if isinstance(error, FileExistsError) and Path(error.filename) in parts(path):
        return f"{error.filename} is left from another run: move it away, or name another file"
    return f"cannot write {path}: {reading.words(error)}; name another file with --out"


def finished(path: Path) -> list[Row]:
    """What a file that may still be written, or was torn, holds already; no interrupted rows."""
    try:
        return _resumable(path, path.read_bytes())[1]
    except OSError as error:
        raise UsageError(f"cannot read {path}: {reading.words(error)}") from error


def _resumable(path: Path, data: bytes) -> tuple[bytes, list[Row]]:
    """What of a file to go on with, and its rows."""
    whole = data[: data.rfind(b"\n") + 1]
    if not whole and schema.HEADER.startswith(data):
        return schema.HEADER, []  # killed before the header was out
    lines = whole.split(b"\n")[:-1]
    if len(lines) > 1 and _is_torn(lines[-1]):
        whole = whole[: -len(lines.pop()) - 1]
    if not lines or lines[0].removeprefix(b"\xef\xbb\xbf").rstrip(b"\r") + b"\n" != schema.HEADER:
        raise UsageError(f"{path}, line 1: not the columns of this version; start a new file")
    found = reading.parse(path, whole)
    if len(runs := {line.row["run_id"] for line in found}) > 1:
        raise UsageError(f"{path} holds {len(runs)} runs: only a run's own file can be resumed")
    kept = [line for line in found if line.row["status"] != "interrupted"]
    if len({_key(line.row) for line in kept}) < len(kept):
        raise UsageError(f"{path} holds two rows of one cell and repeat: delete one of them")
    raw = [b"\n".join(lines[line.first - 1 : line.last]) + b"\n" for line in kept]
    return b"".join([schema.HEADER, *raw]), [line.row for line in kept]


def _is_torn(line: bytes) -> bool:
    """Fields are missing: a power cut may leave zeros, or a newline after half a row."""
    return line.count(b",") < len(schema.COLUMNS) - 1


def _resume_steps(path: Path, *, keys: set[Key]) -> int:
    """Open the raw times to append to, with those of ``keys`` in it and nothing torn."""
    held = path.read_bytes() if path.exists() else b""
    kept = {
        (times["cell_id"], times["repeat"]): held[start:end]
        for start, end, times in reading.members(path, held)
        if (times["cell_id"], times["repeat"]) in keys
    }
    content = b"".join(kept.values())
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o666)
    return fd if content == held else disk.replaced(path, content, old=fd)
