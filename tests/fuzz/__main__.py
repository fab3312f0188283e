"""``python -m tests.fuzz --target NAME --inputs N --engine bytes|hypothesis|atheris``: fuzzing.

Each target is fuzzed in a process of its own, whose most memory is then known. What is found ends
it with a traceback and exit code 1. ``--out`` adds a line of JSON for each target.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ENGINES = ("bytes", "hypothesis", "atheris")
RUN = "FUZZ_RUN"


def main() -> int:
    asked = _asked()
    if RUN in os.environ:
        return _fuzz(asked)
    from bench import machine
    from tests.fuzz.targets import TARGETS

    names = list(TARGETS) if asked.target == "all" else [asked.target]
    found = 0
    for name in names:
        started, before = datetime.now(UTC), time.monotonic()
        given = ["--target", name, "--inputs", str(asked.inputs), "--seed", str(asked.seed)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz", *given, "--engine", asked.engine],
            env={**os.environ, RUN: "1"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        told = [line for line in done.stdout.splitlines() if line.startswith("{")]
        line = {"target": name, "engine": asked.engine, "seed": asked.seed}
        line |= json.loads(told[-1]) if told else {}
        line |= {"found": int(done.returncode != 0), "took_s": round(time.monotonic() - before, 1)}
        line |= {"started_at": started.isoformat(timespec="seconds"), "git_rev": machine.git_rev()}
        print(json.dumps(line), flush=True)
        if done.returncode:
            found += 1
            print(done.stdout[-1000:], done.stderr[-3000:], file=sys.stderr)
        if asked.out:
            with asked.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
    return 1 if found else 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--target", default="all", help="default: all of them")
    parser.add_argument("--inputs", type=int, default=2000, help="of each target")
    parser.add_argument("--engine", choices=ENGINES, default="bytes")
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--out", type=Path, help="JSON lines are added to it")
    asked = parser.parse_args()
    if asked.engine == "atheris" and sys.version_info[:2] != (3, 11):
        parser.error("atheris has a build for Python 3.11 only: take hypothesis, or bytes")
    return asked


def _fuzz(asked: argparse.Namespace) -> int:
    if asked.engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=["bench"]):
            from tests.fuzz import targets
    from tests.fuzz import engines, targets

    watched = engines.Watched(targets.TARGETS[asked.target])
    atexit.register(_tell, watched)  # libFuzzer ends the process where it is
    with engines.limits():
        engines.ENGINES[asked.engine](watched, asked.inputs, seed=asked.seed)
    return 0


def _tell(watched: Any) -> None:
    from bench import memory
    from tests.fuzz import targets

    shutil.rmtree(targets.scratch(), ignore_errors=True)
    peak_mib = round(memory.peak_bytes() / 2**20)
    told = {"inputs": watched.inputs, "refused": watched.refused, "peak_mib": peak_mib}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    sys.exit(main())
