"""What a worker is kept from: the network, others' files and processes, and too much of anything.

The plan is made here; bench/child/isolated.py applies what the system allows and says what it was.
docs/isolation.md says what it is good for and where it ends.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import memory
from bench.envs.build import READY
from bench.errors import UsageError

VARIABLE = "BENCH_ISOLATION"
AUTO, OFF = "auto", "off"
SETTING = "isolation"
"""In a row's recorded settings: what was in force. No part of a cell's id, for it changes none."""

MAIN = ("network", "writes", "signals")

PROGRAM = Path(__file__).with_name("isolated.py")
NETWORKED = {"tpu": "libtpu asks the machine's metadata server"}
"""Kinds of device -> why their processes need the network."""
DEVICES = (
    *("null", "zero", "full", "random", "urandom", "shm"),
    *("nvidia*", "nvidia-caps/*", "kfd", "dri", "accel*", "vfio", "infiniband", "gdrdrv", "dxg"),
)
"""Below /dev, what a program or an accelerator's driver writes to."""

COMPILES = "UV_COMPILE_BYTECODE"
UVM = Path("/dev/nvidia-uvm")

OPEN_FILES = 65536
PROCESSES = (1024, 256)  # of an ordinary user's worker, and for each CPU more: threads count
OOM_SCORE = 500  # of 1000: where memory ends the kernel ends the worker, not the harness
GIB = 2**30


def asked() -> str:
    """Auto, or off where a site has to; UsageError for anything else."""
    found = os.environ.get(VARIABLE) or AUTO
    if found not in (AUTO, OFF):
        raise UsageError(f"{VARIABLE}={found}: it is {AUTO} or {OFF}")
    return found


class Isolation:
    """Of one worker, which may write below ``writable``, the first of which is its own folder.

    python: its interpreter. device: the kind it computes on. nodes: machines that share its cell.
    launched: whether its command starts other processes that are workers.
    """

    def __init__(
        self,
        writable: Sequence[Path],
        *,
        python: Path,
        device: str = "cpu",
        nodes: int = 1,
        launched: bool = False,
    ) -> None:
        self._found: dict[str, Any] | str = OFF if asked() == OFF else _needless(device)
        if self._found:
            return
        self._report, self._told = os.pipe()
        own = _without_bytecode(python)
        places = [*filter(Path.is_dir, writable), *own, *_devices(launched=launched)]
        self._plan: dict[str, Any] = {
            "network": _network(device, nodes),
            "writable": [str(place) for place in places],
            "writes": "scratch and environment" if own else "scratch",
            "open_files": OPEN_FILES,
            "processes": PROCESSES[0] + PROCESSES[1] * (os.cpu_count() or 1),
            "file_gib": 1 + _largest_file(writable[0]) // GIB,
            "oom_score_adj": OOM_SCORE,
            "report": self._told,
        }

    def around(self, command: Sequence[str]) -> list[str]:
        """The command, begun by what shuts it in: in the harness's Python, with nothing of a site.

        Whatever the worker's environment holds then runs inside only.
        """
        if self._found:
            return list(command)
        plan = json.dumps(self._plan)
        return [sys.executable, "-I", "-S", str(PROGRAM), plan, *command]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the worker's process has to inherit."""
        return () if self._found else (self._told,)

    def started(self) -> None:
        """The worker's process is there: only it holds the other end now."""
        if not self._found:
            os.close(self._told)

    def found(self) -> dict[str, Any] | str:
        """What was in force, as the row records it. Waits until the worker has begun or ended."""
        if not self._found:
            with os.fdopen(self._report, "rb") as report:
                said = report.read()
            self._found = json.loads(said) if said else "it could not be begun"
        return self._found


def here() -> dict[str, Any] | str:
    """What this machine allows, tried on a process that does nothing."""
    with tempfile.TemporaryDirectory() as folder:
        tried = Isolation([Path(folder)], python=Path(sys.executable))
        command = tried.around([sys.executable, "-I", "-S", "-c", ""])
        subprocess.run(command, pass_fds=tried.descriptors, capture_output=True, check=False)
        tried.started()
        return tried.found()


def _needless(device: str) -> str:
    """Why nothing is applied for now, or "".

    NVIDIA's driver files are made when the first program asks for them, by a helper that becomes
    root; nothing that is shut in can.
    """
    made = UVM.exists() or not shutil.which("nvidia-modprobe")
    return "" if device != "cuda" or made else "off until NVIDIA's driver has made its files"


def _network(device: str, nodes: int) -> str:
    """Why the worker needs it, or ""."""
    return "several machines share the cell" if nodes > 1 else NETWORKED.get(device, "")


def _devices(*, launched: bool) -> Iterator[Path]:
    """Files of the system's that a worker has to write to."""
    for pattern in DEVICES:
        yield from Path("/dev").glob(pattern)
    # A process resets its own memory's peak there. Those that a launcher starts are not known yet.
    yield Path("/proc" if launched else "/proc/self")


def _without_bytecode(python: Path) -> list[Path]:
    """An environment that was built without: its processes leave it as they import, or each would
    compile its framework anew. For where no time counts, as in CI.
    """
    folder = python.parent.parent
    lacks = os.environ.get(COMPILES, "").lower() in ("0", "false", "no", "off")
    return [folder] if lacks and (folder / READY).exists() else []


def _largest_file(folder: Path) -> int:
    """In bytes: a file that fits neither the disk nor the memory is nobody's model."""
    return max(shutil.disk_usage(folder).total, memory.total_bytes())
