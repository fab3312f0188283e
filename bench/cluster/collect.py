"""``bench collect``: what a submitted pilot has measured, what is missing of it and why."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench import identity
from bench.cluster import engines
from bench.cluster.engines import Engine, EngineError, State
from bench.cluster.plan import Jobs, Key, PilotFolder, Plan, Share
from bench.cluster.share import TIME_LIMIT
from bench.errors import EXIT_NO, EXIT_NOTHING, EXIT_OK, UsageError
from bench.rows import files, merging
from bench.rows.schema import Row

POLL_S = 5.0
FORGOTTEN = State(ended=True, word="unknown to the engine by now")
"""Only what has ended is forgotten."""
NEVER = State(ended=True, word="never submitted")
LONG_AGO = datetime.fromtimestamp(0, UTC)

REASONS = {
    "TIMEOUT": ("timeout", "the job's time limit of {minutes} min"),
    "DEADLINE": ("timeout", "the job's deadline"),
    "OUT_OF_MEMORY": ("oom", "the job was ended for its memory"),
    "CANCELLED": ("interrupted", "the job was cancelled"),
    "PREEMPTED": ("interrupted", "the job was preempted"),
    "NODE_FAIL": ("crashed", "the job's node failed"),
    "BOOT_FAIL": ("crashed", "the job's node did not start"),
}
"""Slurm's words for how a job ended, as status and reason."""


@dataclass
class Part:
    """A share as it stands. rows: of each finished cell and repeat its file and row."""

    share: Share
    job: str = ""
    state: State = NEVER
    submitted_at: datetime = LONG_AGO
    end: str = ""
    rows: dict[Key, tuple[Path, Row]] = field(default_factory=dict)

    @property
    def missing(self) -> list[Key]:
        return [key for key in self.share.keys if key not in self.rows]


def run(arguments: argparse.Namespace) -> int:
    folder = PilotFolder(arguments.folder)
    plan = folder.plan()
    _check_out(arguments.out, plan)
    if arguments.cancel:
        _cancel(folder, plan)
    said = ""
    while True:
        parts = _parts(folder, plan, ended=arguments.ended)
        if (line := _progress(parts)) != said:
            print(line, file=sys.stderr)
            said = line
        if not arguments.follow or all(part.state.ended or not part.missing for part in parts):
            break
        time.sleep(POLL_S)
    rows = _merge(arguments.out, plan, parts)
    missing = list(_missing(plan, parts))
    if arguments.json:
        told = [{"cell_id": key[0], "repeat": key[1], "why": why} for key, why in missing]
        print(json.dumps({"out": str(arguments.out), "rows": len(rows), "missing": told}))
    else:
        for why, count in Counter(why for _, why in missing).items():
            print(f"missing: {count} rows: {why}")
        print(f"results: {arguments.out}")
    if all(row["status"] != "ok" for row in rows):
        return EXIT_NOTHING
    return EXIT_NO if missing else EXIT_OK


def open_shares(folder: PilotFolder, plan: Plan, *, whatever_runs: bool = False) -> list[str]:
    """Those with something missing that no job is still at; or whether one is or not."""
    found = [part for part in parts_of(folder, plan) if part.missing]
    return [part.share.name for part in found if whatever_runs or part.state.ended]


def parts_of(folder: PilotFolder, plan: Plan) -> list[Part]:
    """Every share, by its last job."""
    latest: dict[str, tuple[str, Jobs]] = {}
    for jobs in folder.submissions():
        latest |= {name: (one, jobs) for name, one in jobs.ids.items()}
    # Asked before the rows are read: what a job wrote before it ended is then among them.
    states = _states(plan, latest)
    made = []
    for share in plan.shares:
        part = Part(share)
        if share.name in latest:
            part.job, jobs = latest[share.name]
            part.state, part.submitted_at = states.get(part.job, FORGOTTEN), jobs.submitted_at
        part.rows, part.end = folder.finished(share.name), folder.end(share.name)
        made.append(part)
    return made


def _states(plan: Plan, latest: Mapping[str, tuple[str, Jobs]]) -> dict[str, State]:
    """The engine's; where it does not answer, jobs whose time has long passed are given up."""
    ids = list(dict.fromkeys(job for job, _ in latest.values()))
    try:
        return engines.named(plan.engine).states(ids)
    except EngineError as error:
        print(f"{error}", file=sys.stderr)
    spent = datetime.now(UTC) - timedelta(minutes=plan.minutes)
    late = {job: jobs.submitted_at < spent for job, jobs in latest.values()}
    return {job: State(ended=late[job], word="the engine does not answer") for job in ids}


def _parts(folder: PilotFolder, plan: Plan, *, ended: bool) -> list[Part]:
    """ended: so the user says, where no engine knows it."""
    parts = parts_of(folder, plan)
    if not ended:
        return parts
    over = State(ended=True, word="said to have ended")
    return [part if part.state.ended else replace(part, state=over) for part in parts]


def _cancel(folder: PilotFolder, plan: Plan) -> None:
    engine: Engine = engines.named(plan.engine)
    open_ = {part.job for part in parts_of(folder, plan) if not part.state.ended}
    engine.cancel(sorted(open_))
    print(f"cancelled: {len(open_)} jobs", file=sys.stderr)


def _progress(parts: Sequence[Part]) -> str:
    planned = sum(len(part.share.keys) for part in parts)
    words = Counter(part.state.word for part in parts if part.missing)
    jobs = ", ".join(f"{count} {word.lower()}" for word, count in words.items())
    return f"{sum(len(part.rows) for part in parts)} of {planned} rows" + (
        f"; shares: {jobs}" if jobs else ""
    )


def _missing(plan: Plan, parts: Sequence[Part]) -> Iterator[tuple[Key, str]]:
    """What has no row of its own, and why."""
    for part in parts:
        why = _why(plan, part)[1] if part.state.ended else f"job {part.job}: {part.state.word}"
        yield from ((key, why) for key in part.missing)


def _why(plan: Plan, part: Part) -> tuple[str, str]:
    """Status and reason of cells that an ended job has left without a row."""
    word = "TIMEOUT" if part.end == TIME_LIMIT else part.state.word.rstrip("+").partition(" ")[0]
    other = ("crashed", f"the job left no row and did not say why ({part.state.word})")
    if part.end:  # the share had the time to say so
        other = ("interrupted", f"the job was {part.end}")
    status, reason = REASONS.get(word, other)
    return status, f"{reason.format(minutes=plan.minutes)}: job {part.job or 'none'}"


def _merge(out: Path, plan: Plan, parts: Sequence[Part]) -> list[Row]:
    """Rows in the plan's order; of what ended without one, a row that says so."""
    rows: list[Row] = []
    times: dict[Key, bytes] = {}
    for part in parts:
        for path in {path for path, _ in part.rows.values()}:
            mine = {key for key, (home, _) in part.rows.items() if home == path}
            times |= {key: raw for key, raw in merging.raw_times(path).items() if key in mine}
        for key in part.share.keys:
            if key in part.rows:
                rows.append(part.rows[key][1])
            elif part.state.ended:
                rows.append(_lost(plan, part, key))
    merging.write(out, rows, times)
    return rows


def _lost(plan: Plan, part: Part, key: Key) -> Row:
    """Nothing of the machine that runs ``collect`` is in it, so it is the same every time."""
    status, reason = _why(plan, part)
    cell = plan.cell(key[0])
    known = identity.of(cell, key[1], run_id=plan.run_id, cluster="")
    elsewhere = {"host": "unknown", "device_name": "", "driver": "", "load1": None}
    facts = {"started_at": part.submitted_at, "git_rev": plan.git_rev, "wall_s": 0.0}
    return known | elsewhere | facts | {"status": status, "reason": reason}


def _check_out(path: Path, plan: Plan) -> None:
    """UsageError rather than writing over what is not this pilot's."""
    if path.exists():
        held = {row["run_id"] for row in files.read(path)}
        if held - {plan.run_id}:
            raise UsageError(f"{path} holds another run: name another file with --out")
