"""Jobs of Slurm: submitted through submitit, asked for and ended by Slurm's own programs.

submitit only asks sacct, which needs an accounting database that many clusters do not have: without
it a job that died is never noticed (submitit 1.5.4).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.cluster import client, submitting
from bench.cluster.engines import EngineError, State
from bench.cluster.plan import Plan

GOES_ON = frozenset(
    {
        *("PENDING", "RUNNING", "SUSPENDED", "CONFIGURING", "COMPLETING", "REQUEUED"),
        *("REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED"),
    }
)
"""States of jobs that may still write (squeue(1), "JOB STATE CODES"); PREEMPTED ones are requeued
under the same id as PENDING, or are not."""

_FIELD = re.compile(r"(\w+)=(\S*)")


def plan(shares: Sequence[str], _: Plan) -> list[list[str]]:
    """One each: what is compared is in one share, and so on one node."""
    return [[one] for one in shares]


def submit(commands: Sequence[Sequence[str]], *, log: Path, how: Mapping[str, Any]) -> list[str]:
    if shutil.which("sbatch") is None:
        raise EngineError("there is no sbatch here: submit on a login node of the cluster")
    return submitting.submit("slurm", commands, log=log, how=how)


def states(ids: Sequence[str]) -> dict[str, State]:
    """By ``scontrol``, which forgets ended jobs after some minutes, then by ``sacct``."""
    found: dict[str, State] = {}
    for main in dict.fromkeys(one.partition("_")[0] for one in ids):
        code, out, said = client.ask(["scontrol", "--oneliner", "show", "job", main])
        if code and "invalid job id" not in said.lower():
            raise EngineError(f"scontrol: {said.strip() or f'exit code {code}'}")
        found |= _shown(out)
    lost = [one for one in ids if one not in found]
    return found | (_accounted(lost) if lost and shutil.which("sacct") else {})


def cancel(ids: Sequence[str]) -> None:
    if ids:
        code, _, said = client.ask(["scancel", *ids])
        if code:
            raise EngineError(f"scancel: {said.strip() or f'exit code {code}'}")


def _shown(out: str) -> dict[str, State]:
    """Of ``scontrol show job``: one line a job; tasks of an array that wait share one."""
    found: dict[str, State] = {}
    for line in out.splitlines():
        fields = dict(_FIELD.findall(line))
        if "JobState" not in fields:
            continue
        state = _state(fields["JobState"])
        if "ArrayJobId" in fields:
            tasks = _numbers(fields.get("ArrayTaskId", ""))
            found |= {f"{fields['ArrayJobId']}_{task}": state for task in tasks}
        else:
            found[fields["JobId"]] = state
    return found


def _accounted(ids: Iterable[str]) -> dict[str, State]:
    """Nothing where there is no accounting: sacct then fails, which is no news."""
    wanted = ",".join(ids)
    asked = ["sacct", "-X", "-n", "-P", "-o", "JobID,State", "-j", wanted]
    code, out, _ = client.ask(asked)
    lines = [] if code else out.splitlines()
    pairs = (line.split("|", 1) for line in lines if "|" in line)
    return {job: _state(word.split()[0]) for job, word in pairs if word.strip()}


def _state(word: str) -> State:
    return State(word.rstrip("+") not in GOES_ON, word)


def _numbers(text: str) -> list[int]:
    """Of ``0-3,7%2``: 0, 1, 2, 3, 7."""
    found: list[int] = []
    for part in text.partition("%")[0].split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            found += range(int(first), int(last or first) + 1)
    return found
