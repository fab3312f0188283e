"""What is told and kept of a cell's workers: events, and what they printed."""

from __future__ import annotations

from bench.child.launch import Child, Ended
from bench.grid import Task
from bench.run import runlog
from bench.run.runlog import INFO, WARNING, Subject
from bench.text import redacted

LINES = 20
"""The last that a worker printed, for the event of a row that failed."""

ROOM = 4000  # characters of a reason, to which the last line still may be added


class Told:
    """Of one cell. tail: the last lines of the worker that ended early."""

    def __init__(self, task: Task) -> None:
        self.printed: list[str] = []
        self.tail: list[str] = []
        self._task = task
        self._phase: tuple[int, str] | None = None

    def started(self, child: Child) -> None:
        runlog.event("worker_started", about=self._worker(child))

    def phase(self, child: Child, name: str) -> None:
        """Before the command is sent, while the worker sleeps; once for all turns of a cell."""
        if self._phase != (child.pid, name):
            self._phase = (child.pid, name)
            runlog.event("phase", about=self._worker(child), phase=name)

    def ended(self, child: Child, ended: Ended | None) -> None:
        job = child.job
        self.printed.append(f"== {job.role} {job.cell.id}\n{child.log.text()}\n")
        status, reason = ("ok", "") if ended is None else (ended.status, ended.reason)
        if ended is not None:
            self.tail = child.log.last(LINES)
        runlog.event(
            "worker_ended",
            level=INFO if status in ("ok", "unsupported") else WARNING,
            about=self._worker(child),
            status=status,
            reason=reason,
            phase=child.phase,
            peak_host_mib=child.peak_bytes >> 20,
        )

    def _worker(self, child: Child) -> Subject:
        return Subject(self._task.cell.id, self._task.repeat, child.job.role, child.pid)


def reason_of(reason: str, tail: list[str]) -> str:
    """Of a row that failed: it also quotes what was printed last, unless it does already, and no
    address in it has a password.
    """
    if tail and tail[-1] not in reason and len(reason) <= ROOM:
        reason = f"{reason}; printed last: {tail[-1]}"
    return redacted(reason)
