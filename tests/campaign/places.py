"""What others do at the same time: on one file, in one cache, with clock, port and memory."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from random import Random

from bench.envs import build as envs
from bench.rows import files
from bench.rows.places import steps_path
from tests import harness
from tests.campaign import pilots
from tests.campaign.pilots import CELLS, Pilot, Trial, Trials
from tests.fake_site import Site

BUILDERS = 20
JUMP = """
#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
int clock_gettime(clockid_t id, struct timespec *at) {
    static long calls;
    int code = syscall(SYS_clock_gettime, id, at);
    if (!code && id == CLOCK_REALTIME) at->tv_sec += (++calls % 7 - 3) * 86400;
    return code;
}
"""
"""The wall clock of whoever loads this jumps by days at each look; monotonic clocks do not."""
TAKEN_S = 1.5
CLONE_NEWNS = 0x00020000


def two_pilots(chance: Random, times: int, folder: Path) -> Trials:
    """Two that start one file, and every second time two that go on with one."""
    for number in range(times):
        out = folder / f"{number}.csv"
        how = ("--out", str(out))
        if number % 2:
            first = Pilot(*pilots.run(*CELLS, *how), scratch=folder / f"first-{number}")
            first.wait(chance.uniform(0.5, 1.5))
            first.kill()
            how = ("--resume", str(out)) if out.exists() else how
        both = []
        for name in "ab":
            both.append(Pilot(*pilots.run(*CELLS, *how), scratch=folder / f"{name}-{number}"))
            time.sleep(chance.uniform(0.0, 1.0))
        codes = sorted(pilot.wait() or 0 for pilot in both)
        refused = [pilot for pilot in both if pilot.code == 2]
        plain = [pilot.text().count("\n") for pilot in refused] == [1]
        kept = codes == [0, 2] and plain and pilots.completed(out)
        what = "resumed" if number % 2 else "started"
        said = "".join(pilot.text()[-300:] for pilot in both)
        yield Trial(kept, f"{what}: one ran, one was refused in one line" if kept else said)


def one_cache(chance: Random, times: int, folder: Path) -> Trials:
    """Twenty processes want one environment; every second time one of them is killed."""
    for number in range(times):
        site = Site(folder / f"site-{number}")
        site.folder.mkdir()
        site.lay()
        code = f"from tests.fake_site import build; build({str(site.folder)!r})"
        builders = [
            subprocess.Popen(
                [sys.executable, "-c", code],
                env=harness.environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(BUILDERS)
        ]
        victim = builders[chance.randrange(BUILDERS)] if number % 2 else None
        if victim:
            time.sleep(chance.uniform(0.0, 6.0))
            victim.send_signal(signal.SIGKILL)
        said = {one: one.communicate()[0].splitlines() for one in builders}
        well = [one for one in builders if one.returncode == 0]
        pythons = {said[one][-1] for one in well}
        builds = sum(" venv " in f" {call} " for call in site.calls())
        kept = len(pythons) == 1 and len(well) >= BUILDERS - (victim is not None)
        kept = kept and (builds == 1 or (victim is not None and builds == 2))
        seen = f"{'one killed, ' if victim else ''}{len(well)} have it, built {builds} times"
        yield Trial(kept, seen if kept else f"{seen} {list(said.values())}")


def clock_jumps(_: Random, times: int, folder: Path) -> Trials:
    (folder / "jump.c").write_text(JUMP, encoding="ascii")
    library, python = folder / "jump.so", folder / "python"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, folder / "jump.c"], check=True)
    python.write_text(f'#!/bin/sh\nLD_PRELOAD={library} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    for number in range(times):
        out, started = folder / f"{number}.csv", time.monotonic()
        _, *command = harness.command("--workload", "cnn", "--out", str(out), python=str(python))
        done = subprocess.run(
            [str(python), *command],
            env=harness.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - started
        [row], [times_] = files.read(out), files.read_steps(steps_path(out))
        parts = [row["import_s"], row["build_s"], row["measure_s"], max(times_["block_ns"]) / 1e9]
        kept = done.returncode == 0 and row["status"] == "ok" and row["wall_s"] < seconds
        kept = kept and all(0 <= part < row["wall_s"] for part in parts)
        yield Trial(kept, row["status"] if kept else f"{row} {done.stderr}", row["wall_s"])


def memory_taken(chance: Random, times: int, folder: Path) -> Trials:
    """Another process takes all of the machine's memory but 2 %, for TAKEN_S."""
    for number in range(times):
        out = folder / f"{number}.csv"
        hog = [sys.executable, "-m", "tests.campaign.hog", str(TAKEN_S)]
        with subprocess.Popen(hog, stdin=-1, stdout=-1, text=True, cwd=harness.ROOT) as taking:
            assert taking.stdin is not None
            assert taking.stdout is not None
            assert taking.stdout.readline() == "nearly\n"
            scratch = folder / f"scratch-{number}"
            pilot = Pilot(*pilots.run(*CELLS, "--out", str(out)), scratch=scratch)
            pilot.wait(chance.uniform(0.0, 5.0))
            taking.stdin.write("all\n")
            taking.stdin.flush()
            taken = taking.stdout.readline() == "taken\n"  # or the kernel has ended it
        code, found = pilot.wait(), pilots.ends(out)
        wrong = [(name, end) for name, end in found if end not in (pilots.ENDS[name], "oom")]
        whole = [name for name, _ in found] == list(pilots.ENDS)
        kept = taken and code in (0, 3) and whole and not wrong
        ended = sum(end == "oom" for _, end in found)
        yield Trial(kept, f"{ended} of 6 rows oom, the others ran" if kept else pilot.text()[-300:])


def port_taken(_: Random, times: int, folder: Path) -> Trials:
    """PyTorch's usual port, which no cell of one machine needs; then the one that two machines,
    both of them this one, were told to meet at.
    """
    for number in range(times):
        with socket.socket() as holder:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", 0 if number % 2 else 29500))
            holder.listen()
            port = holder.getsockname()[1]
            started = time.monotonic()
            if number % 2:
                nodes = ("--nodes", "2", "--rendezvous", f"127.0.0.1:{port}", "--repeats", "1")
                ends = [
                    _two_processes(folder / f"{number}-{rank}", *nodes, "--node-rank", str(rank))
                    for rank in (0, 1)
                ]
                statuses = [_status(pilot) for pilot in ends]
                kept = all(one in ("env_failed", "failed", "timeout") for one in statuses)
                seen = f"told to meet at it: {' and '.join(statuses)}"
            else:
                status = _status(_two_processes(folder / str(number)))
                kept, seen = status == "ok", f"its usual port is taken: {status}"
            yield Trial(kept, seen, time.monotonic() - started)


def stale_lock(_: Random, times: int, folder: Path) -> Trials:
    """What a killed worker leaves beside DeepSpeed's operators, old and young in turn. Root: a copy
    takes the operators' place for this pilot alone, for the environment may be in use.
    """
    real = envs.path_of("deepspeed", "cpu")[0] / "torch-extensions"
    copy = folder / "operators"
    shutil.copytree(real, copy)
    cells = ("--backend", "deepspeed", "--workload", "cnn", "--size", "tiny", "--device", "cpu")

    def hide() -> None:
        ctypes.CDLL(None).unshare(CLONE_NEWNS)
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "--bind", copy, real], check=True)

    for number in range(times):
        out, at = folder / f"{number}.csv", folder / f"at-{number}"
        for operator in copy.iterdir():
            (operator / "lock").touch()
            if number % 2 == 0:
                os.utime(operator / "lock", (0, 0))
        how = ("--threads", "1", "--timeout", "120", "--out", str(out))
        Pilot("run", *cells, *how, scratch=at, prepare=hide).wait()
        statuses = [row["status"] for row in files.read(out)]
        kept = statuses == ["ok"]
        seconds = files.read(out)[0]["wall_s"]
        yield Trial(kept, f"{'young' if number % 2 else 'old'}: {statuses[0]}", seconds)


def _two_processes(scratch: Path, *more: str) -> Pilot:
    cells = ("--backend", "torch", "--workload", "cnn", "--size", "tiny", "--device", "cpu")
    how = ("--threads", "1", "--world-size", "2" if not more else "4", "--timeout", "90")
    return Pilot("run", *cells, *how, *more, "--out", f"{scratch}.csv", scratch=scratch)


def _status(pilot: Pilot) -> str:
    pilot.wait()
    rows = files.read(Path(f"{pilot.scratch}.csv"))
    return ", ".join(row["status"] for row in rows) or pilot.text()[-300:]
