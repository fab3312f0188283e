"""Processes that are killed or stopped at random moments."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

from bench.rows import files
from bench.rows.places import steps_path
from bench.rows.schema import Row
from tests.campaign import pilots
from tests.campaign.pilots import CELLS, Pilot, Trial, Trials

STOP_S = 3.0
REPEATS = 20
ONE_CELL = ("--workload", "cnn", "--setting", "do=nothing", "--json")
TIMED = ("import_s", "build_s", "parity_s", "warmup_s", "first_step_s")


def parent_killed(chance: Random, times: int, folder: Path) -> Trials:
    """A pilot is started or resumed and its parent is killed, until nothing of it is left to do."""
    number = done = 0
    while done < times:
        number += 1
        out = folder / f"{number}.csv"
        while done < times:
            how = ("--resume", str(out)) if out.exists() else ("--out", str(out))
            scratch = folder / f"scratch-{number}-{done}"
            pilot, before = Pilot(*pilots.run(*CELLS, *how), scratch=scratch), pilots.whole(out)
            if pilot.wait(chance.uniform(0.0, 4.0)) is not None:
                break
            working = bool(pilot.workers())
            pilot.kill()
            done += 1
            yield _after_kill(pilot, out, before, working=working)
        how = ("--resume", str(out)) if out.exists() else ("--out", str(out))
        last = Pilot(*pilots.run(*CELLS, *how), scratch=folder / f"scratch-{number}-last")
        last.wait()
        if not pilots.completed(out):
            yield Trial(kept=False, seen=f"{out} was not completed: {last.text()[-300:]}")


def _after_kill(pilot: Pilot, out: Path, before: bytes, *, working: bool) -> Trial:
    seconds = pilot.leftovers()
    kept = pilots.true(out) and pilots.whole(out).startswith(before)
    kept = kept and seconds < pilots.ENDS_WITHIN_S
    return Trial(
        kept, "killed while a worker ran" if working else "killed between workers", seconds
    )


def worker_killed(chance: Random, times: int, folder: Path) -> Trials:
    done = number = 0
    while done < times:
        number += 1
        out = folder / f"{number}.csv"
        killed = {}
        pilot = _repeated(out, folder / f"scratch-{number}")
        for place, pid in enumerate(_workers(pilot)):
            time.sleep(chance.uniform(0.0, 1.0))
            killed[place] = _sent(pid, signal.SIGKILL)
        rows = files.read(out)
        complete = _complete(pilot, rows)
        for place, row in enumerate(rows):
            if killed.get(place) and done < times:
                done += 1
                fits = row["status"] == "ok" or "signal 9" in (row["reason"] or "")
                late = "ok: it had answered its last command"
                phase = (row["reason"] or "").partition(":")[0]
                seen = late if row["status"] == "ok" else f"{row['status']} in {phase}"
                yield Trial(complete and fits, seen, row["wall_s"])


def worker_stopped(chance: Random, times: int, folder: Path) -> Trials:
    """Each is stopped once for STOP_S: no row that is ok may hold a time of that length."""
    for number in range(-(-times // REPEATS)):
        out = folder / f"{number}.csv"
        pilot = _repeated(out, folder / f"scratch-{number}")
        stopped = {}
        for place, pid in enumerate(_workers(pilot)):
            time.sleep(chance.uniform(0.0, 1.0))
            stopped[place] = _sent(pid, signal.SIGSTOP)
            time.sleep(STOP_S if stopped[place] else 0.0)
            _sent(pid, signal.SIGCONT)
        longest = {one["repeat"]: _longest_s(one) for one in files.read_steps(steps_path(out))}
        rows = files.read(out)
        complete = _complete(pilot, rows)
        for place, row in enumerate(rows):
            if not stopped.get(place):
                continue
            told = max(longest.get(row["repeat"], 0.0), *(row[name] or 0.0 for name in TIMED))
            true = row["status"] == "interrupted" or (row["status"] == "ok" and told < STOP_S)
            yield Trial(complete and true, row["status"], row["wall_s"])


def parent_stopped(chance: Random, times: int, folder: Path) -> Trials:
    for number in range(times):
        out = folder / f"{number}.csv"
        pilot = Pilot(*pilots.run(*CELLS, "--out", str(out)), scratch=folder / f"scratch-{number}")
        pilot.wait(chance.uniform(0.0, 5.0))
        _sent(pilot.pid, signal.SIGSTOP)
        time.sleep(STOP_S)
        _sent(pilot.pid, signal.SIGCONT)
        started = time.monotonic()
        code = pilot.wait()
        kept = code == 0 and pilots.completed(out)
        yield Trial(
            kept, "went on, complete" if kept else pilot.text()[-300:], time.monotonic() - started
        )


def _repeated(out: Path, scratch: Path) -> Pilot:
    repeats = ("--repeats", str(REPEATS), "--out", str(out))
    return Pilot(*pilots.run(*ONE_CELL, *repeats), scratch=scratch)


def _complete(pilot: Pilot, rows: list[Row]) -> bool:
    """It ended by itself, with a row of each repeat."""
    return pilot.code in (0, 3) and [row["repeat"] for row in rows] == [*range(1, REPEATS + 1)]


def _workers(pilot: Pilot) -> Iterator[int]:
    """Each worker once, as it appears, until the pilot has ended."""
    known: set[int] = set()
    while pilot.wait(0.01) is None:
        for pid in set(pilot.workers()) - known:
            known.add(pid)
            yield pid


def _sent(pid: int, number: signal.Signals) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def _longest_s(times: dict[str, list[int]]) -> float:
    return max([*times["block_ns"], *times["step_ns"], 0]) / 1e9
