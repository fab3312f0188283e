"""Real pilots of the fake backend that are meant to be disturbed, and what is looked at afterwards.

Each is a process of its own. It is forked instead of started: importing bench 200 times is time
that no fault could hit. Its cells are shortened, its workers are started as always.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from bench import cli, grid, memory
from bench.rows import files, reading
from bench.rows.places import steps_path

ENDS_WITHIN_S = 10.0
ENDS = {
    "nothing": "ok",
    "print": "ok",
    "exception": "failed",
    "cache": "ok",
    "wrong_logits": "parity_failed",
    "unsupported": "unsupported",
}
"""The cells of a pilot that nothing disturbs, in the order of its rows, and how they end."""
CELLS = ("--workload", "cnn", "--setting", f"do={','.join(ENDS)}")


class Trial(NamedTuple):
    """One fault. kept: whether all that is promised of it held. seen: what became of it, in words
    that are counted. seconds: how long what is told in the table took; None where nothing is told.
    """

    kept: bool
    seen: str
    seconds: float | None = None


Trials = Iterator[Trial]


def shortened() -> None:
    """Every plan of this process and of those forked from it measures for 0.05 s a cell."""
    plan = grid.plan

    def short(*arguments: Any, **named: Any) -> list[grid.Task]:
        quick = {"measure_s": 0.05, "steps_min": 2, "warmup_cap": 1}
        tasks = plan(*arguments, **named)
        return [replace(task, spec=replace(task.spec, **quick)) for task in tasks]

    grid.plan = short


class Pilot:
    """A command of ``bench`` in its own process and session.

    scratch: where its workers run; each pilot needs its own, to be told from the others.
    prepare: called in that process first.
    """

    def __init__(
        self, *arguments: str, scratch: Path, prepare: Callable[[], object] = lambda: None
    ) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self.scratch = scratch
        self.said = scratch.with_suffix(".said")
        self.pid = os.fork()
        if not self.pid:
            os._exit(_become(arguments, scratch, self.said, prepare))
        self.code: int | None = None

    def wait(self, seconds: float = 600.0) -> int | None:
        """The exit code, negative for a signal; None where it has not ended by then."""
        until = time.monotonic() + seconds
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= until:
                break
            else:
                time.sleep(0.005)
        return self.code

    def kill(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def text(self) -> str:
        return self.said.read_text(encoding="utf-8", errors="replace")

    def workers(self) -> list[int]:
        """Processes that its parent process has started and that have become workers."""
        return [pid for pid in _marked(self.scratch) if b"bench.worker" in _read(pid, "cmdline")]

    def leftovers(self) -> float:
        """Seconds until nothing of it ran any more; at most ENDS_WITHIN_S are waited."""
        started = time.monotonic()
        while _marked(self.scratch) and time.monotonic() - started < ENDS_WITHIN_S:
            time.sleep(0.005)
        return time.monotonic() - started


def run(*more: str) -> tuple[str, ...]:
    """``bench run`` on tiny cells of the fake backend, one after another."""
    fake = ("--backend", "fake", "--size", "tiny", "--device", "cpu", "--threads", "1")
    return ("run", *fake, "--python", f"fake={sys.executable}", "--schedule", "sequential", *more)


def ends(path: Path) -> list[tuple[str, str]]:
    """The cells that a results file, which may be torn, holds the rows of, and how they ended."""
    rows = files.finished(path) if path.exists() else []
    return [(row["cell_id"].rpartition("=")[2], row["status"]) for row in rows]


def true(path: Path) -> bool:
    """Whether its rows are the first of what would be there without any fault."""
    found = ends(path)
    return found == list(ENDS.items())[: len(found)] and (not path.exists() or times_match(path))


def whole(path: Path) -> bytes:
    """What of the file is complete lines."""
    held = path.read_bytes() if path.exists() else b""
    return held[: held.rfind(b"\n") + 1]


def times_match(path: Path) -> bool:
    """Every row that was measured has its raw times; one set of them at most is without a row."""
    rows = {(row["cell_id"], row["repeat"]): row["status"] for row in files.finished(path)}
    beside = steps_path(path)
    held = beside.read_bytes() if beside.exists() else b""
    timed = {(one["cell_id"], one["repeat"]) for _, _, one in reading.members(beside, held)}
    measured = {key for key, status in rows.items() if status == "ok"}
    return measured <= timed and len(timed - rows.keys()) <= 1


def completed(path: Path) -> bool:
    """The grid, each cell once, as it would be without any fault; read strictly."""
    rows = files.read(path)
    runs = {row["run_id"] for row in rows}
    return len(rows) == len(ENDS) and len(runs) == 1 and true(path)


def _become(
    arguments: tuple[str, ...], scratch: Path, said: Path, prepare: Callable[[], object]
) -> int:
    os.setsid()
    out = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(out, stream)
    tempfile.tempdir = os.environ["TMPDIR"] = str(scratch)
    try:
        prepare()
        code = cli.main(list(arguments))
    except BaseException:  # noqa: BLE001  # as the interpreter ends a program
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _marked(scratch: Path) -> list[int]:
    mark = f"BENCH_SCRATCH={scratch}/".encode()
    pids = [int(folder.name) for folder in memory.PROC.iterdir() if folder.name.isdigit()]
    return [
        pid for pid in pids if any(v.startswith(mark) for v in _read(pid, "environ").split(b"\0"))
    ]


def _read(pid: int, name: str) -> bytes:
    try:
        return (memory.PROC / str(pid) / name).read_bytes()
    except OSError:  # gone meanwhile
        return b""
