"""Where a worker runs: its scratch folder, its environment variables, and what it may import.

The child's environment is made here and nowhere else.
"""

from __future__ import annotations

import compileall
import contextlib
import fcntl
import functools
import importlib.util
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from backends.entry import Entry
from bench.child import preallocation
from bench.conditions import MALLOC_KEEP
from bench.errors import UsageError
from bench.job import Job
from workloads import cache

SWEEPS = 500  # of some milliseconds; what is still there then cannot be killed (a driver holds it)
PACKAGES = ("bench", "backends", "workloads")
ROOT = Path(__file__).resolve().parents[2]
PREFIX, HELD = "bench-", "held"
MARK = "BENCH_SCRATCH"  # in the environment of all that a worker starts, so that none is missed

PASSED_ON = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "TZ",
    "CC",
    "CXX",
    "CUDA_HOME",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "TPU_NAME",
)
THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def child_env(entry: Entry, job: Job, scratch: Path, caches: Path) -> dict[str, str]:
    """All of a worker's environment variables: few are inherited, so that runs compare."""
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    env.update(dict.fromkeys(THREADS, str(job.cell.threads)))
    env.update({name: str(caches / name.lower()) for name in entry.cache_dirs})
    env.update(entry.env)
    env.update(entry.device_env.get(job.cell.device, {}))
    for setting, value in job.cell.settings.items():
        if setting in entry.setting_env:
            env[entry.setting_env[setting]] = value
    if job.cell.track == "tuned":
        env.update(entry.tuned_env)
    env.update(preallocation.variables(job.cell, entry))
    if job.cell.settings.get("malloc") == "keep":
        env.update(MALLOC_KEEP)
    named = (entry.module, entry.public, entry.capabilities, entry.generates, entry.serves)
    modules = filter(None, named)
    env.update(job.visible)
    env.update(
        {
            MARK: str(scratch),
            "BENCH_MODEL_CACHE": str(model_cache(job)),
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            "PYTHONPATH": str(library(scratch, *modules)),
            "PYTHONNOUSERSITE": "1",
            "PYTHONHASHSEED": "0",
        }
    )
    return env


def model_cache(job: Job) -> Path:
    """Where a worker may keep files for later ones of its backend, and of no other."""
    return cache.root() / "models" / job.cell.backend


def library(scratch: Path, *modules: str) -> Path:
    """A folder with this project's packages and those of ``modules``, and nothing else.

    The parent's own environment, which they may be installed in, must not be seen by a worker.
    """
    folder = scratch / "lib"
    folder.mkdir(exist_ok=True)
    for package in (*PACKAGES, *(module.partition(".")[0] for module in modules)):
        found = place(package)
        link = folder / found.name
        if not link.exists():
            compiled(found)
            link.symlink_to(found)
    return folder


@functools.cache
def compiled(package: Path) -> None:
    """Have the bytecode of a package there, where it can be: a worker may not write it, and would
    compile all that it imports, every time. Of this Python's version, which most workers have.
    """
    if not sys.dont_write_bytecode:
        compile_all = compileall.compile_dir if package.is_dir() else compileall.compile_file
        compile_all(package, quiet=2)  # what fails here is the worker's to report


def place(package: str) -> Path:
    """The folder or file of a top-level package; it is found, not imported."""
    found = importlib.util.find_spec(package)
    if found is None or not (found.submodule_search_locations or found.origin):
        raise UsageError(f"the adapter's package {package!r} is not installed beside the harness")
    locations = found.submodule_search_locations
    return Path(next(iter(locations)) if locations else str(found.origin))


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A working directory that is gone afterwards, with everything that ran in it."""
    sweep()
    path = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
    try:
        with held(path):
            yield path
    finally:
        kill_marked(path)
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def held(scratch: Path) -> Iterator[None]:
    """A lock that ends with this process, however that ends; the host is written once it is had."""
    with (scratch / HELD).open("xb", buffering=0) as file:
        # A full disk, or a file system without locks: nobody will sweep this one.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(platform.node().encode())
        yield


@functools.cache
def sweep() -> None:
    """End what killed harnesses have left on this host: processes that a framework started go on
    without their worker, and would take CPUs from whatever is timed next.
    """
    for path in Path(tempfile.gettempdir()).resolve().glob(f"{PREFIX}*"):
        if abandoned(path):
            kill_marked(path)
            shutil.rmtree(path, ignore_errors=True)


def abandoned(scratch: Path) -> bool:
    """Whether it is this user's and this host's, and nobody holds it any more."""
    try:
        # Asked before anything in it is opened: in another user's folder that may be a device.
        if scratch.lstat().st_uid != os.getuid():
            return False
        host = platform.node().encode()
        # A worker may have put anything there, and nothing that it puts may stop the next run.
        descriptor = os.open(scratch / HELD, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            if file.read(len(host) + 1) != host:
                return False
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or no scratch folder, or gone meanwhile
        return False
    return True


def kill_marked(scratch: Path) -> None:
    """End every process that carries this scratch folder in its environment, wherever it went."""
    mark = f"{MARK}={scratch}".encode()
    for _ in range(SWEEPS):  # one of them may just have started another
        found = [pid for pid in _processes() if mark in _environ(pid).split(b"\0")]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _processes() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # gone meanwhile, or another user's
        return b""
