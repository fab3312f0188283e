"""What happens in a run, as it happens: ``x.log.jsonl`` beside ``x.csv``, and ``--verbose``.

Parent half. The standard library's logging, with a formatter of our own: a line of JSON needs no
more. Workers log nothing, and the parent only between commands, never while one is timing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from logging import ERROR, INFO, WARNING
from pathlib import Path
from typing import Any

from bench.contract import BenchError
from bench.rows.disk import append
from bench.rows.places import log_path, logs_path
from bench.rows.reading import words
from bench.text import plain, redacted

__all__ = ["ERROR", "INFO", "WARNING", "RunLog", "Subject", "event", "opened"]

Say = Callable[[str], None]

LONGEST = 2000  # characters of a text
NAME_BYTES = 200  # of a file's name, for which file systems take 255

EMPTY: tuple[Any, ...] = ("", None, [])

_LOGGER = logging.getLogger("bench.run")
_LOGGER.setLevel(INFO)
_LOGGER.addHandler(logging.NullHandler())
# What the program around us does with its logs must not happen between two timed blocks.
_LOGGER.propagate = False


@dataclass(frozen=True)
class Subject:
    """Whom an event is about: the harness itself, or a cell, or the worker of one."""

    cell_id: str | None = None
    repeat: int | None = None
    role: str = "harness"
    pid: int | None = None


HARNESS = Subject()


def event(name: str, *, level: int = INFO, about: Subject = HARNESS, **fields: Any) -> None:
    """Log one; nothing happens where no run has its log open."""
    _LOGGER.log(level, name, extra={"about": about, "fields": fields})


class RunLog:
    """The log of one run; what cannot be written is said once, and the run goes on."""

    def __init__(self, results: Path, say: Say) -> None:
        self._results = results
        self._say = say
        self._complained = False

    def keep(self, cell_id: str, repeat: int, printed: str) -> str | None:
        """Keep what a cell's workers printed; the file's name in the folder ``x.logs``."""
        name = cell_id.replace("/", "_")
        if len(name) > NAME_BYTES:
            name = f"{name[:NAME_BYTES]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        path = logs_path(self._results) / f"{name}-r{repeat}.log"
        try:
            path.parent.mkdir(exist_ok=True)
            path.write_text(printed, encoding="utf-8")
        except OSError as error:
            self.complain(path, error)
            return None
        return path.name

    def complain(self, path: Path, error: OSError) -> None:
        if not self._complained:
            self._say(f"{path} cannot be written ({words(error)}): the run goes on without logs")
        self._complained = True


@contextlib.contextmanager
def opened(results: Path, *, run_id: str, verbose: bool, say: Say) -> Iterator[RunLog]:
    """Log events beside the results file ``results``, and to standard error where ``verbose``."""
    log = RunLog(results, say)
    handlers: list[logging.Handler] = [_File(log_path(results), log)]
    handlers[0].setFormatter(_Json(run_id))
    if verbose:
        handlers.append(_Screen())
        handlers[1].setFormatter(_Words())
    for handler in handlers:
        _LOGGER.addHandler(handler)
    try:
        yield log
    except KeyboardInterrupt:
        event("interrupted", level=WARNING)
        raise
    except BenchError as error:
        event("stopped", level=ERROR, reason=str(error))
        raise
    finally:
        for handler in handlers:
            _LOGGER.removeHandler(handler)
            handler.close()


class _File(logging.Handler):
    """Appends whole lines, each at once."""

    def __init__(self, path: Path, log: RunLog) -> None:
        super().__init__()
        self._path = path
        self._log = log
        self._fd: int | None = None
        try:
            self._fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o666)
            size = os.fstat(self._fd).st_size
            if size and os.pread(self._fd, 1, size - 1) != b"\n":  # killed while it was written
                append(self._fd, b"\n")
        except OSError as error:
            self._give_up(error)

    def emit(self, record: logging.LogRecord) -> None:
        if self._fd is not None:
            try:
                append(self._fd, f"{self.format(record)}\n".encode())
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        super().close()

    def _give_up(self, error: OSError) -> None:
        self._log.complain(self._path, error)
        self.close()


class _Screen(logging.Handler):
    """Standard error; on a terminal by way of the live line, which would be torn otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self._stream = sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        # While it is shown, rich has put something in sys.stderr's place that prints above it.
        stream = sys.stderr if self._stream.isatty() else self._stream
        stream.write(f"{self.format(record)}\n")
        stream.flush()


class _Json(logging.Formatter):
    """An object with the same keys in every line."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self._run_id = run_id

    def format(self, record: logging.LogRecord) -> str:
        about, fields = _parts(record)
        return json.dumps(
            {
                "time": _time(record),
                "level": record.levelname.lower(),
                "event": record.msg,
                "run_id": self._run_id,
                "cell_id": about.cell_id,
                "repeat": about.repeat,
                "role": about.role,
                "pid": os.getpid() if about.pid is None else about.pid,
                "fields": fields,
            }
        )


class _Words(logging.Formatter):
    """The same for people."""

    def format(self, record: logging.LogRecord) -> str:
        about, fields = _parts(record)
        cell = [about.cell_id, f"repeat {about.repeat}"] if about.cell_id else []
        who = [] if about.pid is None else [f"{about.role} (process {about.pid})"]
        told = [f"{name}={_shown(value)}" for name, value in fields.items() if value not in EMPTY]
        return " ".join([_time(record), record.levelname.lower(), record.msg, *cell, *who, *told])


def _shown(value: Any) -> str:
    return plain(" | ".join(value) if isinstance(value, list) else str(value))


def _parts(record: logging.LogRecord) -> tuple[Subject, dict[str, Any]]:
    about, fields = record.__dict__["about"], record.__dict__["fields"]
    return about, {name: _fit(value) for name, value in fields.items()}


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fit(value: Any) -> Any:
    """What JSON can hold, of bounded length, without the password of an address."""
    if isinstance(value, list):
        return [_fit(one) for one in value]
    if isinstance(value, str):
        return redacted(value)[:LONGEST]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
