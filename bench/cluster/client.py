"""Calls of an engine's own programs, each of which has to answer in time."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.cluster.engines import EngineError

PATIENCE_S = 60.0
"""A busy controller answers within seconds; one that is down lets its clients wait for minutes."""


def ask(command: Sequence[str], *, patience_s: float = PATIENCE_S) -> tuple[int, str, str]:
    """Exit code, output and errors. EngineError where it cannot be started or does not answer.

    Output goes through files: what a program leaves running would hold a pipe open. It is a
    session of its own, so that it ends whole, and what it starts outlives Ctrl-C.
    """
    with tempfile.TemporaryDirectory() as scratch:
        paths = [Path(scratch) / name for name in ("out", "err")]
        with paths[0].open("wb") as out, paths[1].open("wb") as err:
            try:
                running = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                )
            except OSError as error:
                raise EngineError(f"cannot run {command[0]}: {error.strerror}") from error
            try:
                code = running.wait(patience_s)
            except subprocess.TimeoutExpired as error:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()
                asked = Path(command[0]).name
                raise EngineError(
                    f"{asked} did not answer within {patience_s:.0f} s: is its controller up?"
                ) from error
        said = [path.read_text(encoding="utf-8", errors="replace") for path in paths]
        return code, said[0], said[1]
