"""The real command line on the backends of ``tests/fake``, in real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FAKE = ROOT / "tests" / "fake"


def command(*arguments: str, backend: str = "fake", python: str = sys.executable) -> list[str]:
    start = [sys.executable, "-m", "bench", "run", "--backend", backend, "--size", "tiny"]
    # In the order asked for, one after another; what takes turns is tested where it is meant.
    # One thread: several tests run at once, and threads that wait for each other by spinning made
    # 16 seconds of training 119.
    fixed = ["--device", "cpu", "--python", f"{backend}={python}", "--schedule", "sequential"]
    return [*start, *fixed, "--threads", "1", *arguments]


def environment() -> dict[str, str]:
    # That we are one of several pytest processes is no business of a pytest that we start.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**kept, "PYTHONPATH": f"{FAKE}{os.pathsep}{ROOT}"}


def bench(
    *arguments: str, backend: str = "fake", python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    """``bench run`` on tiny cells, to its end."""
    return subprocess.run(
        command(*arguments, backend=backend, python=python),
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )


def main(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Any other command, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )


def start(*arguments: str) -> subprocess.Popen[str]:
    """The same, without waiting, in a session of its own; the caller may send signals."""
    # A shell's background jobs ignore Ctrl-C, and so would what they start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            command(*arguments),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
