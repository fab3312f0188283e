"""The real command line on the backends of ``tests/fake``, in real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FAKE = ROOT / "tests" / "fake"


def command(*arguments: str, backend: str = "fake", python: str = sys.executable) -> list[str]:
    start = [sys.executable, "-m", "bench", "run", "--backend", backend, "--size", "tiny"]
    # In the order asked for, one after another; what takes turns is tested where it is meant.
    fixed = ["--device", "cpu", "--python", f"{backend}={python}", "--schedule", "sequential"]
    return [*start, *fixed, *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{FAKE}{os.pathsep}{ROOT}"}


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


def start(*arguments: str) -> subprocess.Popen[str]:
    """The same, without waiting, in a session of its own; the caller may send signals."""
    return subprocess.Popen(
        command(*arguments),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
