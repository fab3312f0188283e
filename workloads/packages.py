"""Fetch the packages that carry the real data; only files are read from them, never code."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from bench import pip_settings
from bench.errors import UsageError
from workloads import FOLDER, cache

LOCK = FOLDER / "data.lock"
"""Pinned versions with hashes, made from data.in; ``make lock`` renews it."""


def lock_hash() -> str:
    """Short hash of the lock: what was fetched by another lock is not used."""
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]


def fetch() -> Path:
    """The folder with the unpacked packages; fetched once, offline afterwards."""
    return cache.made(cache.root() / f"packages-{lock_hash()}", _install)


def _install(target: Path) -> None:
    python = Path(sys.executable)
    command = [
        str(python.with_name("uv")),
        "pip",
        "install",
        "--python",
        str(python),
        "--target",
        str(target),
    ]
    # Only binary: an sdist would run code. No dependencies: nothing of these is imported.
    command += ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)]
    command += pip_settings.uv_arguments(python)
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    try:
        done = subprocess.run(
            command,
            env={**pip_settings.uv_environment(python), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise UsageError(f"there is no uv beside {python}: `make venv` installs it") from error
    if done.returncode:
        said = " ".join(done.stderr.split())[-400:]
        raise UsageError(
            f"cannot fetch the data packages of {LOCK.name} (uv: {said}): give this machine a "
            "package index (pip's index-url and find-links settings are passed on to uv), or copy "
            f"{cache.root()} from a machine that has it; the tiny transformer needs none of them"
        )
