"""Host memory from /proc: one process's peak, and a process tree's sum.

Linux only; stdlib only, for both halves use it. ``ru_maxrss`` is not used: a fresh child starts
with its parent's value. VmHWM is the kernel's own high-water mark of a process's resident set;
PSS (``smaps_rollup``) divides shared pages among their users, so that a tree can be summed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")


def resident_bytes(pid: int | str = "self") -> int:
    """VmRSS of a process, in bytes."""
    return _status_kib(pid, "VmRSS") * 1024


def peak_bytes(pid: int | str = "self") -> int:
    """VmHWM of a process, in bytes: the most that was ever resident, or since ``reset_peak``."""
    return _status_kib(pid, "VmHWM") * 1024


def reset_peak() -> None:
    """Set this process's VmHWM back to what is resident now (proc(5), clear_refs)."""
    (PROC / "self/clear_refs").write_text("5")


def give_back() -> bool:
    """Give all memory that the C library keeps free back to the kernel; False where it cannot.

    glibc's malloc_trim(3) does, whatever its tunables keep.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    trim(ctypes.c_size_t(0))
    return True


def available_bytes() -> int:
    """MemAvailable of the machine: what can be used without swapping."""
    return _meminfo("MemAvailable")


def total_bytes() -> int:
    """MemTotal of the machine."""
    return _meminfo("MemTotal")


def _meminfo(key: str) -> int:
    for line in (PROC / "meminfo").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/meminfo has no {key}")


def tree(root: int) -> list[int]:
    """The processes of ``root``'s session and all their descendants.

    ``root`` must lead its session: an orphan loses its parent but keeps its session. This looks at
    every process that there is.
    """
    parents: dict[int, int] = {}
    found: set[int] = set()
    for folder in PROC.iterdir():
        if folder.name.isdigit() and (fields := _stat(folder)):
            parents[int(folder.name)] = int(fields[1])
            if int(fields[3]) == root:
                found.add(int(folder.name))
    while grown := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= grown
    return sorted(found)


def pss_bytes(pids: Iterable[int]) -> int:
    """Summed PSS of processes, in bytes; one that has ended counts as nothing."""
    return sum(_pss_bytes(pid) for pid in pids)


def _pss_bytes(pid: int) -> int:
    try:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        return 0
    except PermissionError:  # another user's, or a sandbox without smaps
        return resident_bytes(pid)
    return 0


def cpu_seconds(pid: int) -> float:
    """What the living threads of a process have computed, exact to the nanosecond (schedstat).

    0 for a process that has ended, and where the kernel keeps no such books.
    """
    spent = 0
    for thread in _listed(PROC / str(pid) / "task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            spent += int((thread / "schedstat").read_text().split()[0])
    return spent / 1e9


def computed_s(pid: int) -> float:
    """User and system time of a process, its ended threads' included, in ticks (proc(5), stat)."""
    fields = _stat(PROC / str(pid))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []


def _stat(folder: Path) -> list[str]:
    """Fields of /proc/PID/stat from ``state`` on (proc(5) numbers them from 3), or []."""
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _status_kib(pid: int | str, key: str) -> int:
    try:
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0  # a zombie has no memory lines
