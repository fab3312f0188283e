"""What is here, what is missing, and the command that mends it. It reads and changes nothing."""

from __future__ import annotations

import json as jsonlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench import backends_index, envs, machine
from bench.accelerators import choose
from bench.child import isolation
from bench.envs import interpreters, uv
from bench.errors import EXIT_NO, EXIT_OK, EnvError
from workloads import cache, packages

GIB = 2**30
ROOM_GIB = 10.0  # the largest environment (CUDA) with uv's cache of it
MEMORY_GIB = 4.0
ASK_S = 10.0
EVERY = 1000  # devices: more than a machine has


@dataclass(frozen=True)
class Fact:
    """One thing looked at. mend: a command or a step, empty where nothing is to be done.

    needed: nothing can be measured while this needs mending.
    """

    what: str
    state: str
    mend: str = ""
    needed: bool = False


def run(*, json: bool) -> int:
    """Print the facts; 1 if something without which nothing runs needs mending."""
    found = facts()
    if json:
        print(jsonlib.dumps([asdict(fact) for fact in found], indent=1))
    else:
        width = max(len(fact.what) for fact in found)
        for fact in found:
            print(f"{'!' if fact.mend else ' '} {fact.what:{width}}  {fact.state}")
            if fact.mend:
                print(f"  {'':{width}}  -> {fact.mend}")
    return EXIT_NO if any(fact.mend and fact.needed for fact in found) else EXIT_OK


def facts() -> list[Fact]:
    here = [
        _python(),
        _uv(),
        _disk(),
        _memory(),
        _cores(),
        _proc(),
        _isolation(),
        *_compiler(),
        *_devices(),
    ]
    return [*here, *_interpreters(), *_environments(), _data()]


def _python() -> Fact:
    old = sys.version_info < (3, 11)
    mend = "make venv PYTHON=/path/to/python3.11" if old else ""
    return Fact("python", f"{platform.python_version()} {sys.executable}", mend, needed=True)


def _uv() -> Fact:
    try:
        done = subprocess.run(
            [uv.program(), "--version"], capture_output=True, text=True, timeout=ASK_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Fact("uv", f"does not run: {error}", "rm -r .venv && make venv", needed=True)
    if done.returncode != 0:
        said = interpreters.ending(done.returncode, done.stderr)
        return Fact("uv", f"does not run: {said}", "rm -r .venv && make venv", needed=True)
    return Fact("uv", done.stdout.strip(), needed=True)


def _disk() -> Fact:
    home = envs.home()
    free = shutil.disk_usage(_existing(home)).free / GIB
    mend = "set BENCH_ENVS and UV_CACHE_DIR to a disk with more room" if free < ROOM_GIB else ""
    return Fact("disk", f"{free:.1f} GiB free for {home}", mend)


def _memory() -> Fact:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    kib = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
    free, total = (kib[name] * 1024 / GIB for name in ("MemAvailable", "MemTotal"))
    state = f"{free:.1f} of {total:.1f} GiB available"
    limit = _text(Path("/sys/fs/cgroup/memory.max"))
    if limit.isdigit():  # "max" where there is none
        state += f", limited to {int(limit) / GIB:.1f} GiB"
        free = min(free, int(limit) / GIB)
    mend = f"free some: the small models need about {MEMORY_GIB:.0f} GiB"
    return Fact("memory", state, mend if free < MEMORY_GIB else "")


def _cores() -> Fact:
    allowed, there = len(machine.cpus()), os.cpu_count() or 0
    state = f"{allowed} of {there} CPUs allowed, load {machine.load1():.2f}"
    quota, _, period = _text(Path("/sys/fs/cgroup/cpu.max")).partition(" ")
    if quota.isdigit() and (share := int(quota) / int(period)) < allowed:
        # Threads beyond the quota are stopped for part of every period: steps jump.
        mend = f"bench run --threads {max(1, int(share))}"
        return Fact("cores", f"{state}, quota of {share:.1f}", mend)
    busy = machine.load1() > allowed
    return Fact("cores", state, "wait for the other programs, or stop them" if busy else "")


def _proc() -> Fact:
    wanted = {"status": os.R_OK, "smaps_rollup": os.R_OK, "clear_refs": os.W_OK}
    missing = [name for name, how in wanted.items() if not os.access(f"/proc/self/{name}", how)]
    state = f"without {', '.join(missing)}" if missing else "status, smaps_rollup, clear_refs"
    mend = "run where /proc is mounted whole: memory columns stay empty" if missing else ""
    return Fact("/proc", state, mend)


def _isolation() -> Fact:
    """What workers are kept from; nothing has to be mended, for the rows say it, too."""
    found = isolation.here()
    if isinstance(found, str):
        return Fact("isolation", found)
    return Fact("isolation", ", ".join(f"{name} {found[name]}" for name in isolation.MAIN))


def _compiler() -> list[Fact]:
    compiler = os.environ.get("CXX") or "g++"
    path = shutil.which(compiler)
    mend = "" if path else "apt-get install g++ (compiled modes that generate C++ fail without)"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    there = header.exists()
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-dev"
    return [
        Fact("compiler", path or f"no {compiler}", mend),
        Fact(
            "Python.h",
            str(header) if there else f"no {header}",
            "" if there else f"apt-get install {package} (for the same modes)",
        ),
    ]


def _devices() -> list[Fact]:
    kind = machine.likely_device()
    if kind == "cpu":
        return [Fact("accelerator", "none: no device file of NVIDIA, AMD or a TPU")]
    driver = machine.driver(kind)
    mend = "" if driver or kind == "tpu" else "load the driver's kernel module"
    return [Fact("accelerator", f"{kind}, driver {driver or 'unknown'}", mend), *_each(kind)]


def _each(kind: str) -> list[Fact]:
    """Every device that may be used here, and whether it is free."""
    mine = choose.share(kind, (), EVERY)
    if mine.unread:
        mend = "install the driver's management library: rows have no facts of the device without"
        return [Fact(f"accelerator {kind}", mine.unread, mend)]
    found = []
    for one in mine.devices:
        who = choose.busy(replace(mine, devices=(one,)), patience_s=0.0)
        state = f"{one.name}, {one.memory_mib:.0f} MiB, {one.uuid}" + (f": {who}" if who else "")
        mend = f"end it, or choose another with --device {kind}:INDEX" if who else ""
        found.append(Fact(f"accelerator {kind}:{one.index}", state, mend))
    return found


def _interpreters() -> list[Fact]:
    """One line per version of Python that some backend's lock was made for."""
    wanted: dict[str, list[str]] = {}
    for name in backends_index.names():
        wanted.setdefault(backends_index.find(name).python, []).append(name)
    found = []
    for version, users in sorted(wanted.items()):
        what = f"python{version} for {', '.join(users)}"
        try:
            found.append(Fact(what, str(interpreters.find(version))))
        except EnvError as error:
            found.append(Fact(what, "missing", str(error)))
    return found


def _environments() -> list[Fact]:
    here = {"cpu", machine.likely_device()}
    return [_environment(state, here=here) for state in envs.states()]


def _environment(found: envs.State, *, here: set[str]) -> Fact:
    size = f", {found.mib:.0f} MiB" if found.mib is not None else ""
    build = f"make envs BACKEND={found.backend} DEVICE={found.device}"
    mends = {
        "ready": "",
        "missing": build if found.device in here else "",
        "half-built": build,
        "stale": f"rm -r {found.place}",
        "instead": f"rm -r {found.place} && {build}, once its packages can be found",
    }
    note = f" ({found.note})" if found.note else ""
    needless = found.kind == "missing" and found.device not in here
    state = f"{found.kind}{size}{note}" + (", not needed on this machine" if needless else "")
    return Fact(f"environment {found.place.name}", state, mends[found.kind])


def _data() -> Fact:
    root = cache.root()
    if (root / f"packages-{packages.lock_hash()}").is_dir():
        return Fact("data", f"fetched, in {root}")
    writable = os.access(_existing(root), os.W_OK)
    state = f"not fetched yet: the first run of size small does, into {root}"
    return Fact("data", state, "" if writable else "set BENCH_CACHE to a folder you can write")


def _existing(path: Path) -> Path:
    """The nearest folder above that is there."""
    return next(one for one in (path, *path.parents) if one.exists())


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii").strip() if path.exists() else ""
