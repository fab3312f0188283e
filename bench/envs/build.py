"""One virtual environment per backend and device, built by uv from a hashed lock.

``.envs/<backend>-<device>-<12 digits of the lock's hash>/``: another lock is another path, so an
environment is never changed, only made. Its last step writes ``ready.json``; a folder without
one was interrupted, and is removed and built anew. ``.envs/<name>.lock`` keeps a second builder
waiting.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from backends.entry import Entry
from bench import backends_index
from bench.envs import hashed, interpreters, locks, pip_settings, uv
from bench.errors import EnvError, unknown

Log = Callable[[str], None]
READY = "ready.json"
INSTEAD = "instead.json"
MIB = 2**20
BUILDERS = 2  # at once


@dataclass(frozen=True)
class Env:
    """A usable interpreter.

    lock: 12 hex digits of the lock's hash, or ``packages:`` and a fingerprint if brought.
    device: the lock's device, which is another one than asked for after a fallback; empty if
    brought. note: what a reader of the row must know, or empty.
    """

    python: Path
    lock: str
    device: str
    note: str = ""


def home() -> Path:
    """Where the environments are: $BENCH_ENVS, else ``.envs`` in the checkout or in the cache."""
    if named := os.environ.get("BENCH_ENVS"):
        return Path(named).absolute()
    if (locks.ROOT / "pyproject.toml").exists():
        return locks.ROOT / ".envs"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "framework-pilot" / "envs"


def resolve(backend: str, device: str, *, pythons: Mapping[str, Path], log: Log) -> Env:
    """The interpreter for a backend: the user's own if one is named, else the built one.

    ``pythons`` is what ``--python`` said; BENCH_PYTHON_<BACKEND> comes after it.
    """
    backends_index.find(backend)
    named = os.environ.get(f"BENCH_PYTHON_{interpreters.variable(backend)}")
    if backend in pythons:
        return brought(backend, pythons[backend])
    return brought(backend, Path(named)) if named else ensure(backend, device, log=log)


def brought(backend: str, python: Path) -> Env:
    """An interpreter that the site provides; UsageError if it cannot be one."""
    python = Path(os.path.abspath(python.expanduser()))  # noqa: PTH100 - a venv's link must stay
    found = interpreters.brought(backend, python)
    return Env(python, lock=f"packages:{found.fingerprint}", device="", note="brought by the user")


def ensure(backend: str, device: str, *, log: Log) -> Env:
    """The environment of one lock, built if it is not there; quick (two small reads) if it is.

    Raises UsageError for an unknown backend or device, EnvError where it cannot be built.
    """
    entry = backends_index.find(backend)
    if device not in (*entry.locks, entry.public_lock):
        raise unknown(f"device of {backend}'s environments", device, entry.locks)
    place, _ = path_of(backend, device)
    try:
        if (env := _there(backend, device, log=log)) is not None:
            return env
        with _one_builder(place, log=log):
            # Another process may have built it while this one waited.
            return _there(backend, device, log=log) or _make(backend, device, place=place, log=log)
    except OSError as error:
        mend = "make room and rights there, or set BENCH_ENVS to another folder"
        raise EnvError(f"{place} cannot be built: {error}; {mend}") from error


def each(
    make: Callable[[str, str], Env], wanted: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], Env | EnvError]:
    """``make(backend, device)`` for each, some at once: one downloads while another compiles.

    What has a program to compile comes first: it takes longest, on one core.
    """

    def attempt(pair: tuple[str, str]) -> Env | EnvError:
        try:
            return make(*pair)
        except EnvError as error:
            return error

    pairs = list(dict.fromkeys(wanted))
    compiled = {name for name in backends_index.names() if backends_index.find(name).prepare}
    order = sorted(pairs, key=lambda pair: pair[0] not in compiled)
    with ThreadPoolExecutor(BUILDERS) as pool:
        made = dict(zip(order, pool.map(attempt, order), strict=True))
    return {pair: made[pair] for pair in pairs}


def path_of(backend: str, device: str) -> tuple[Path, str]:
    """Where this lock's environment is or will be, and the lock's hash (12 hex digits)."""
    lock = locks.lock_file(backend, device)
    try:
        digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise EnvError(f"{backend} has no lock for {device}: {lock} ({error.strerror})") from error
    return home() / f"{backend}-{device}-{digest}", digest


def _there(backend: str, device: str, *, log: Log) -> Env | None:
    """What ``ensure`` returns if nothing has to be built for this lock; None otherwise."""
    place, digest = path_of(backend, device)
    ready, python = read_facts(place / READY), interpreter(place)
    if ready is not None and ready.get("lock") == digest and os.access(python, os.X_OK):
        return Env(python, lock=digest, device=device)
    instead = read_facts(place / INSTEAD)
    if instead is None:
        return None
    return _fall_back(backend, str(instead["device"]), why=str(instead["why"]), log=log)


def _make(backend: str, device: str, *, place: Path, log: Log) -> Env:
    """Build this lock's environment, or the fallback's where its packages cannot be found."""
    fallbacks = backends_index.find(backend).fallbacks
    try:
        _build(backend, device, place=place, log=log)
    except uv.NotFoundError as error:
        if device not in fallbacks:
            raise
        log(f"{backend}: {error}")
        why = f"the packages of the {device} lock cannot be found here"
        try:
            env = _fall_back(backend, fallbacks[device], why=why, log=log)
        except EnvError as second:
            raise EnvError(f"{error}; the {fallbacks[device]} lock: {second}") from second
        # Remembered only now: where both fail, the first is tried again next time.
        _clear(place)
        place.mkdir(parents=True)
        _write(place / INSTEAD, {"device": fallbacks[device], "why": why})
        return env
    return Env(interpreter(place), lock=path_of(backend, device)[1], device=device)


def _fall_back(backend: str, device: str, *, why: str, log: Log) -> Env:
    note = f"{device} lock used: {why}"
    log(f"{backend}: {note}")
    env = ensure(backend, device, log=log)
    return Env(env.python, lock=env.lock, device=env.device, note=note)


def _build(backend: str, device: str, *, place: Path, log: Log) -> None:
    """Make the environment in ``place``; the ready file is written last, after a health check."""
    entry = backends_index.find(backend)
    lock = locks.lock_file(backend, device)
    if refused := [*hashed.problems(lock), *hashed.unexplained(entry.sources)]:
        raise EnvError(f"{refused[0]}: refused; mend the .in or the registry, then make lock")
    if place.exists():
        log(f"{backend}: {place.name} is half-built; building it anew")
        _clear(place)
    started = time.monotonic()
    base = interpreters.find(entry.python)
    log(f"{backend}: building {place.name} with Python {entry.python}")
    harness = Path(sys.executable)
    uv.run(["venv", "--quiet", "--no-project", "--python", str(base), str(place)], log=log)
    sync = ["pip", "sync", "--require-hashes", *_sources(entry, lock)]
    sync += ["--python", str(interpreter(place)), str(lock)]
    _sync(backend, sync, lock, pip_settings.uv_arguments(harness), log=log)
    env = {**uv.environment(), **entry.env, **entry.device_env.get(device, {})}
    if entry.prepare:
        log(f"{backend}: running {entry.prepare} in it")
        interpreters.prepare(interpreter(place), entry.prepare, env=env)
    found = interpreters.probe(interpreter(place), entry.imports, env=env)
    seconds = round(time.monotonic() - started, 1)
    facts = {"lock": place.name.rpartition("-")[2], "seconds": seconds, "mib": _mib(place)}
    _write(place / READY, {**facts, "versions": dict(found.packages)})
    log(f"{backend}: {place.name} is ready ({seconds:.0f} s, {facts['mib']:.0f} MiB)")


def _sync(backend: str, sync: list[str], lock: Path, site: list[str], *, log: Log) -> None:
    """Install the lock from where the site says; else as the lock says, or without its folders of
    wheels, in which another build may hide the index's.
    """
    special = locks.options(lock)
    try:
        uv.run([*sync, *site], log=log)
    except uv.NotFoundError as error:
        other = [*site, *special] if special else pip_settings.without_folders(site)
        if other == site:
            raise
        how = " ".join(special) or "no folder of wheels"
        log(f"{backend}: not found there; trying {how}")
        try:
            uv.run([*sync, *other], log=log)
        except EnvError as second:
            raise uv.NotFoundError(f"{error}; with {how}: {second}") from second


def _sources(entry: Entry, lock: Path) -> list[str]:
    """Wheels only, but for what exists as source only; that is built by the lock's own tools."""
    if not entry.sources:
        return ["--no-build"]
    built = [argument for name in entry.sources for argument in ("--no-binary", name)]
    return ["--only-binary", ":all:", *built, "--build-constraints", str(lock)]


@contextlib.contextmanager
def _one_builder(place: Path, *, log: Log) -> Iterator[None]:
    """Hold ``<place>.lock``; wait, and say so, while another process holds it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    # Closing the file lets go of the lock, and so does dying.
    with place.with_name(f"{place.name}.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log(f"{place.name} is being built by another process: waiting")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def interpreter(place: Path) -> Path:
    return place / "bin" / "python"


def read_facts(path: Path) -> dict[str, object] | None:
    """A JSON object written by ``_write``; None where there is none that is whole."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return value if isinstance(value, dict) else None


def _write(path: Path, value: Mapping[str, object]) -> None:
    """All of it or nothing, whatever happens to the machine meanwhile."""
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=1, sort_keys=True)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def _clear(place: Path) -> None:
    if place.exists():
        shutil.rmtree(place)


def _mib(place: Path) -> float:
    """Disk use in MiB; files that uv links from its cache count in full."""
    blocks = (path.lstat().st_blocks for path in place.rglob("*"))
    return round(sum(blocks) * 512 / MIB, 1)
