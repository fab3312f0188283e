"""Start one worker, talk to it, watch it, and end it with everything it started.

A worker is one process, or one for each rank that the framework's own launcher starts: all of them
get every command, and the first's reply counts, unless another has failed. The parent sleeps in
``select`` until there is a reply or something printed; twice a second it looks at the deadline and,
except while the worker is timing, at the memory of the process tree.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from backends.entry import Entry
from bench import memory
from bench.child import isolation, received
from bench.child.isolation import Isolation
from bench.child.pipes import Pipes, TooLong, read
from bench.child.scratch import child_env, model_cache
from bench.job import Job
from bench.text import plain

TICK_S = 0.5
LOG_HEAD = LOG_TAIL = 128 * 1024  # bytes kept of what a worker prints; some print gigabytes
LINE = 300  # characters kept of one that is quoted
DRAIN_PIECES = 16  # a pipe's largest capacity without privileges (1 MiB)
LEAVE_FREE = 0.03  # of the machine's memory: below this the worker is ended before the kernel does
TIMING = ("warm_up", "run", "latency", "probe", "finish")
LAST = "finish"
"""The cell's peaks are known before it ends; what follows holds arrays that are none of its own."""


@dataclass(eq=False)  # not frozen: contextlib writes the traceback of what passes through it
class Ended(Exception):
    """The worker did not answer: the status and reason of its row."""

    status: str
    reason: str


class Log:
    """The first and the last of what a worker prints."""

    def __init__(self) -> None:
        self.head = b""
        self.tail = b""
        self.dropped = 0

    def add(self, piece: bytes) -> None:
        room = LOG_HEAD - len(self.head)
        self.head += piece[:room]
        tail = self.tail + piece[room:] if room < len(piece) else self.tail
        self.dropped += max(0, len(tail) - LOG_TAIL)
        self.tail = tail[-LOG_TAIL:]

    def text(self) -> str:
        gap = b"\n... %d bytes left out ...\n" % self.dropped if self.dropped else b""
        return (self.head + gap + self.tail).decode("utf-8", "replace")

    def last(self, count: int) -> list[str]:
        """The last lines that are not blank, cut short and without control characters."""
        lines: list[str] = []
        for line in reversed(self.text().splitlines()):
            if len(lines) == count:
                break
            if shown := plain(line[: 4 * LINE])[:LINE]:
                lines.append(shown)
        return lines[::-1]


class Child:
    """A running worker. Use as a context manager: leaving it ends the whole process group."""

    def __init__(
        self,
        python: Path,
        job: Job,
        *,
        entry: Entry,
        scratch: Path,
        caches: Path,
        memory_limit: int | None = None,
    ) -> None:
        self.job = job
        self.isolation = _isolation(job, scratch, python)
        self.log = Log()
        self.peak_bytes = 0
        self.memory_limit = memory_limit
        self.phase = "start"
        job_file = scratch / f"{job.role}.json"
        job.write(job_file)
        ranks = [job.of_rank(rank) for rank in range(job.ranks)]
        self._rows = [one.row for one in ranks]
        self._ranks = [Pipes(one.commands, one.replies) for one in ranks]
        self._answers: dict[Pipes, dict[str, Any]] = {}
        self._next_look = 0.0
        self._tree: list[int] = []
        self._process = subprocess.Popen(
            self.isolation.around([str(python), "-m", "bench.worker", str(job_file)]),
            cwd=scratch,
            env=child_env(entry, job, scratch, caches),
            pass_fds=self.isolation.descriptors,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.isolation.started()
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)
        self._open = {self._output, *(pipes.replies for pipes in self._ranks)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for pipes in self._ranks:
            pipes.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self.isolation.found()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def pids(self) -> list[int]:
        """The process tree, as last looked at."""
        return self._tree

    def ask(self, do: str, *, deadline: float, **arguments: Any) -> dict[str, Any]:
        """Send one command and wait for its reply.

        deadline: of ``time.monotonic``. Raises ``Ended`` where no reply comes: the worker died,
        hung past the deadline or outgrew its memory; or where the reply is a status.
        """
        self.phase = do
        self._answers.clear()
        for pipes in self._ranks:
            pipes.send({"do": do, **arguments})
        try:
            while (reply := self._answer()) is None:
                self._listen(min(TICK_S, max(0.0, deadline - time.monotonic())))
                if not self._heard():
                    self._watch(deadline)
        except (TooLong, received.Unbelievable) as error:
            self.kill()
            raise Ended("failed", str(error)) from error
        if do != LAST:
            self._sample()
        if "status" in reply:
            raise Ended(reply["status"], reply["reason"])
        return reply

    def kill(self) -> None:
        """End the process group; harmless when it has ended.

        One that has finished is not waited for either: its row is on disk, and PyTorch takes 1.2 s
        to leave by itself.
        """
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._drain()

    def found(self, ended: Ended | None) -> tuple[dict[str, Any], dict[str, Any], Ended | None]:
        """``row``, and why the worker ended early: as known, or because its row is none.

        In the settings is, beside what the worker read back, what the system held it to.
        """
        row: dict[str, Any] = {}
        times: dict[str, Any] = {}
        try:
            row, times = self.row()
        except Ended as reason:
            ended = ended or reason
        known = row.get("settings") or self.job.cell.settings
        row["settings"] = {**known, isolation.SETTING: self.isolation.found()}
        return row, times, ended

    def row(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The columns and the raw times that the worker left, complete or not. Ended where what it
        left is neither.
        """
        try:
            row, times = received.row(self.job.row)
        except received.Unbelievable as error:
            raise Ended("failed", str(error)) from error
        if row:
            seen = self.peak_bytes / 2**20
            row["peak_host_mib"] = max(row.get("peak_host_mib") or 0.0, seen)
        return row, times

    def _heard(self) -> bool:
        return any(pipes.ready() for pipes in self._ranks)

    def _answer(self) -> dict[str, Any] | None:
        """The first rank's reply once all have replied; that of one that failed at once, for the
        others may wait for it for ever.
        """
        role = "duel" if self.job.rival else self.job.role
        for pipes in self._ranks:
            if pipes.ready():
                said = received.answer(self.phase, pipes.reply(), role=role)
                self._answers[pipes] = said
        failed = [reply for reply in self._answers.values() if "status" in reply]
        if failed:
            return failed[0]
        all_there = len(self._answers) == len(self._ranks)
        return self._answers[self._ranks[0]] if all_there else None

    def _listen(self, seconds: float) -> None:
        """Sleep until the worker replies or prints, but no longer than ``seconds``."""
        ready, _, _ = select.select(list(self._open), [], [], seconds)
        if self._output in ready:
            self._drain()
        for pipes in self._ranks:
            # A closed end is not listened to any more, or ``select`` would return at once for ever.
            if pipes.replies in ready and not pipes.receive():
                self._open.discard(pipes.replies)

    def _drain(self) -> None:
        """Take what was printed; no more than a pipe holds, or one that never falls silent would
        keep its deadline from being looked at.
        """
        for _ in range(DRAIN_PIECES):
            if not (piece := read(self._output)):
                if piece is not None:
                    self._open.discard(self._output)
                break
            self.log.add(piece)

    def _watch(self, deadline: float) -> None:
        """Raise ``Ended`` if this worker cannot answer any more; else look at its memory."""
        if self._process.poll() is not None:
            self._listen(0)
            if not self._heard():
                raise Ended(*self._how_it_died(self._process.returncode))
        elif time.monotonic() >= deadline:
            self.kill()
            raise Ended("timeout", f"{self.phase}: no answer before the cell's deadline")
        if time.monotonic() < self._next_look:  # a worker that prints wakes us far more often
            return
        self._next_look = time.monotonic() + TICK_S
        if self.phase not in TIMING:
            self._sample()
        if memory.available_bytes() < LEAVE_FREE * memory.total_bytes():
            self.kill()
            raise Ended("oom", f"{self.phase}: the machine's memory was nearly used up")

    def _sample(self) -> None:
        """Look at the memory of the tree; never called while the worker is timing.

        Between timed commands the processes known so far are looked at, not searched for: a search
        takes 2 ms on a small machine and grows with the number of processes on it.
        """
        if self.phase not in TIMING:
            self._tree = memory.tree(self.pid)
        self.peak_bytes = max(self.peak_bytes, memory.pss_bytes(self._tree))
        if self.memory_limit is not None and self.peak_bytes > self.memory_limit:
            self.kill()
            raise Ended(
                "oom",
                f"{self.phase}: grew to {self.peak_bytes >> 20} MiB,"
                f" past the limit of {self.memory_limit >> 20} MiB",
            )

    def _how_it_died(self, code: int) -> tuple[str, str]:
        if code < 0:
            return "crashed", f"{self.phase}: signal {-code} ({signal.Signals(-code).name})"
        if self.phase == "start" and not any(row.exists() for row in self._rows):
            return "env_failed", f"the worker did not start (exit {code}): {self._last_line()}"
        return "crashed", f"{self.phase}: exit code {code} without an answer"

    def _last_line(self) -> str:
        self._drain()
        return next(iter(self.log.last(1)), "it printed nothing")


def _isolation(job: Job, scratch: Path, python: Path) -> Isolation:
    kept = model_cache(job)
    with contextlib.suppress(OSError):  # a site's may be read-only, and hold all there is to be
        kept.mkdir(parents=True, exist_ok=True)
    return Isolation(
        [scratch, kept],
        python=python,
        device=job.cell.device,
        nodes=job.rendezvous.nodes,
        launched=job.launched,
    )
