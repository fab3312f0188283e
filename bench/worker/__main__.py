"""The process that measures one cell, obeying one command at a time.

Worker half. ``python -m bench.worker JOB.json`` runs in the backend's own environment with a
scratch working directory. Commands and replies are JSON lines on two named pipes of their own, so
that nothing a framework prints can disturb them and a launcher (torchrun, msrun) between parent and
worker does not have to pass descriptors on. The row goes to a file after every command, written
atomically: whatever kills the worker, the parent finds what had been measured until then.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Union

from bench import memory
from bench.contract import Incapable, ParityError, TooSlow, Unsupported
from bench.job import Job
from bench.trials import TRIAL
from bench.worker import ladder, oom
from bench.worker.duel import Duel
from bench.worker.exam import Exam
from bench.worker.exporting import Exporting
from bench.worker.generating import Generator
from bench.worker.inventory import Inventory
from bench.worker.learning import Learning
from bench.worker.proof import Proof
from bench.worker.served import Served
from bench.worker.session import Session
from bench.worker.trial import Trial

LAUNCHED = "BENCH_LAUNCHED"
STOPPED = "the worker was stopped and continued meanwhile: nothing that it timed is believed"
RANK = Path(__file__).parent / "rank" / "worker.py"
"""Launchers want a script; its folder becomes the first of ``sys.path`` and holds nothing else."""

Work = Union[Session, Duel, Inventory, Served]

ROLES: Mapping[str, Callable[[Job], Work]] = {
    "devices": Inventory,
    "check": Exam,
    "infer": Served,
    "generate": Generator,
}
"""Those whose work is the same whatever their cell is."""


def obey(session: Work, command: dict[str, Any]) -> dict[str, Any]:
    """Carry one command out; whatever goes wrong becomes a status and a reason."""
    name = command.pop("do")
    if name not in session.COMMANDS:
        return {"status": "failed", "reason": f"unknown command {name!r}"}
    try:
        reply: dict[str, Any] = getattr(session, name)(**command)
    except Unsupported as error:
        reply = {"status": "unsupported", "reason": str(error)}
    except ParityError as error:
        reply = {"status": "parity_failed", "reason": str(error)}
    except Incapable as error:
        reply = {"status": "failed", "reason": str(error)}
    except TooSlow as error:
        reply = {"status": "timeout", "reason": str(error)}
    except Exception as error:  # noqa: BLE001  # every failure is a row; its traceback is logged
        traceback.print_exc()
        reply = _failure(name, error)
    return reply


def _failure(name: str, error: Exception) -> dict[str, Any]:
    if oom.ran_out(error):
        return {"status": "oom", "reason": f"{name}: {oom.line(error)}"}
    status = "env_failed" if name == "start" and isinstance(error, ImportError) else "failed"
    return {"status": status, "reason": f"{name}: {ladder.first_line(error)}"}


def save(session: Work) -> None:
    """Write the row so far; a reader sees the old file or the new one, never a part."""
    row = {"peak_host_mib": memory.peak_bytes() / 2**20, **session.row}
    part = session.job.row.with_suffix(".part")
    part.write_text(json.dumps({"row": row, "times": asdict(session.times)}))
    part.replace(session.job.row)


def _commands(job: Job) -> Iterator[dict[str, Any]]:
    with _pipe(job.commands, "r") as lines:
        for line in lines:
            yield json.loads(line)


def _pipe(path: Path, mode: str) -> IO[str]:
    """A named pipe, opened without waiting for its other end: the parent holds that, or has died.

    One of 200 parents was killed just before its worker asked to die with it, and was still to be
    buried, so that it seemed to live: that worker waited for ever for somebody to open its pipe.
    """
    flags = os.O_RDONLY if mode == "r" else os.O_WRONLY
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, mode)


def _count_stops() -> Callable[[], int]:
    """How often this process has been stopped and continued (SIGSTOP, Slurm's suspend) since now.

    SIGSTOP cannot be noticed when it comes, and clocks go on. Continuing can: it is a signal.
    """
    seen: list[int] = []
    signal.signal(signal.SIGCONT, lambda number, _: seen.append(number))
    return lambda: len(seen)


def _die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGKILL when the process that started this one dies.

    A worker deep in an import or a compile would not notice that its pipe has closed
    (prctl(2), PR_SET_PDEATHSIG = 1).
    """
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    with contextlib.suppress(PermissionError):  # it is there, and not to be sent anything
        os.kill(parent, 0)  # raises where the harness died before the line above


def _session(job: Job) -> Work:
    if job.role in ROLES:
        return ROLES[job.role](job)
    if job.rival:
        return Duel(job)
    if TRIAL in job.cell.settings:
        return Proof(job)
    if job.cell.capability:
        return Trial(job)
    return Learning(job) if job.cell.trains else Exporting(job)


def _launch(job: Job, file: str) -> None:
    """Become the framework's launcher, which starts this worker once for each rank."""
    adapter: Any = importlib.import_module(job.module)
    os.environ[LAUNCHED] = "1"
    argv = [*adapter.launch(job.cell, job.rendezvous), str(RANK), file]
    os.execv(argv[0], argv)  # noqa: S606  # no shell is what is wanted


def main(argv: list[str]) -> int:
    """Obey until ``finish`` is done, a command has failed or the pipe closes."""
    job = Job.read(Path(argv[0]))
    _die_with_parent(job.parent)
    os.sched_setaffinity(0, job.cpus)
    if job.launched:
        if LAUNCHED not in os.environ:
            _launch(job, argv[0])
        job = job.of_rank(int(os.environ[job.rank_env]) % job.ranks)
    stops = _count_stops()
    session = _session(job)
    save(session)  # its presence tells the parent that the interpreter and our half do run
    with _pipe(job.replies, "w") as replies:
        for command in _commands(job):
            name, before = command["do"], stops()
            last = name == "finish"
            reply = obey(session, command)
            if stops() > before:  # 8 of 20 workers stopped for 3 s had an ok row with 3 s in it
                reply = {"status": "interrupted", "reason": f"{name}: {STOPPED}"}
            try:
                save(session)
            except OSError as error:  # a full disk: the parent can still be told
                reply = {"status": "failed", "reason": f"row file: {ladder.first_line(error)}"}
            replies.write(json.dumps(reply) + "\n")
            replies.flush()
            if last or "status" in reply:
                break
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
