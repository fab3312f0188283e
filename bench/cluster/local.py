"""Jobs as processes of this machine, through submitit's local executor."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.cluster import submitting
from bench.cluster.engines import State
from bench.cluster.plan import Plan

CONTROLLER = "submitit.local._local"


def plan(shares: Sequence[str], _: Plan) -> list[list[str]]:
    """All in one job, for two shares at once would disturb each other."""
    return [list(shares)]


def submit(commands: Sequence[Sequence[str]], *, log: Path, how: Mapping[str, Any]) -> list[str]:
    return submitting.submit("local", commands, log=log, how=how)


def states(ids: Sequence[str]) -> dict[str, State]:
    """An id is that of the process which controls the job."""
    return {one: State(not _alive(one), "RUNNING" if _alive(one) else "ENDED") for one in ids}


def cancel(ids: Sequence[str]) -> None:
    for one in ids:
        if _alive(one):
            with suppress(ProcessLookupError):
                # Handing made it the group of a session; what it started is in the same group.
                os.killpg(os.getpgid(int(one)), signal.SIGTERM)


def _alive(pid: str) -> bool:
    """Not only a number that another process has by now; nor one that is dead and not buried."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return CONTROLLER.encode() in words and state != "Z"
