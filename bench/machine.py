"""Facts about this machine that belong in a row; read from the system, never assumed."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def cpus() -> list[int]:
    """The CPUs that this process may use, in order."""
    return sorted(os.sched_getaffinity(0))


def host() -> str:
    return platform.node()


def load1() -> float:
    """Load average over the last minute: above the thread count, neighbours compute too."""
    return os.getloadavg()[0]


@cache
def device_name(device: str) -> str:
    """The CPU's model name; accelerators name themselves through their adapter's settings."""
    if device != "cpu":
        return ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()} ({len(cpus())} CPUs)"
    return f"{platform.machine()} ({len(cpus())} CPUs)"


@cache
def driver(device: str) -> str:
    """The accelerator driver's version, from the kernel module's own files."""
    version = Path(
        "/sys/module/nvidia/version" if device == "cuda" else "/sys/module/amdgpu/version"
    )
    return version.read_text().strip() if device != "cpu" and version.exists() else ""


def likely_device() -> str:
    """The best kind of device that this machine's device files suggest, for ``--device auto``."""
    signs = {"cuda": "nvidia[0-9]*", "rocm": "kfd", "tpu": "accel[0-9]*"}
    return next((kind for kind, sign in signs.items() if any(Path("/dev").glob(sign))), "cpu")


@cache
def git_rev() -> str:
    """The harness's commit, with ``-dirty`` where tracked files differ; empty outside git."""
    try:
        described = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return described.stdout.strip()
