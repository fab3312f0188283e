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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import backends_index, interpreters, locks, pip_settings, uv
from bench.contract import BenchError
from bench.errors import EnvError, unknown

Log = Callable[[str], None]
READY = "ready.json"
INSTEAD = "instead.json"
MIB = 2**20


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
    if device not in entry.locks:
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


def path_of(backend: str, device: str) -> tuple[Path, str]:
    """Where this lock's environment is or will be, and the lock's hash (12 hex digits)."""
    lock = locks.lock_file(backend, device)
    try:
        digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise EnvError(f"{backend} has no lock for {device}: {lock} ({error.strerror})") from error
    return home() / f"{backend}-{device}-{digest}", digest


@dataclass(frozen=True)
class State:
    """One environment as it lies on disk. mib and note only where known."""

    place: Path
    backend: str
    device: str
    kind: str  # "ready", "half-built", "stale", "instead" (a fallback is used) or "missing"
    mib: float | None = None
    note: str = ""


def states() -> list[State]:
    """Every environment that is there, and those that a backend's locks ask for and are not."""
    current = {
        path_of(backend, device)[0]: (backend, device)
        for backend in backends_index.names()
        for device in backends_index.find(backend).locks
    }
    folders = sorted(one for one in home().iterdir() if one.is_dir()) if home().exists() else []
    found = [_state(place, current.get(place)) for place in folders]
    absent = [place for place in current if place not in folders]
    return found + [State(place, *current[place], kind="missing") for place in absent]


def _state(place: Path, wanted: tuple[str, str] | None) -> State:
    ready, instead = _read(place / READY), _read(place / INSTEAD)
    size = float(str(ready["mib"])) if ready else None
    if wanted is None:
        backend, _, device = place.name.rpartition("-")[0].rpartition("-")
        return State(place, backend, device, kind="stale", mib=size)
    if instead is not None:
        note = f"{instead['device']}: {instead['why']}"
        return State(place, *wanted, kind="instead", note=note)
    whole = ready is not None and _python(place).exists()
    return State(place, *wanted, kind="ready" if whole else "half-built", mib=size)


def _there(backend: str, device: str, *, log: Log) -> Env | None:
    """What ``ensure`` returns if nothing has to be built for this lock; None otherwise."""
    place, digest = path_of(backend, device)
    ready, python = _read(place / READY), _python(place)
    if ready is not None and ready.get("lock") == digest and os.access(python, os.X_OK):
        return Env(python, lock=digest, device=device)
    instead = _read(place / INSTEAD)
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
    return Env(_python(place), lock=path_of(backend, device)[1], device=device)


def _fall_back(backend: str, device: str, *, why: str, log: Log) -> Env:
    note = f"{device} lock used: {why}"
    log(f"{backend}: {note}")
    env = ensure(backend, device, log=log)
    return Env(env.python, lock=env.lock, device=env.device, note=note)


def _build(backend: str, device: str, *, place: Path, log: Log) -> None:
    """Make the environment in ``place``; the ready file is written last, after a health check."""
    entry = backends_index.find(backend)
    if place.exists():
        log(f"{backend}: {place.name} is half-built; building it anew")
        _clear(place)
    started = time.monotonic()
    base = interpreters.find(entry.python)
    log(f"{backend}: building {place.name} with Python {entry.python}")
    harness = Path(sys.executable)
    uv.run(["venv", "--quiet", "--no-project", "--python", str(base), str(place)], log=log)
    lock = locks.lock_file(backend, device)
    # Bytecode now, or the first measured process would compile it and seem to import slowly.
    sync = ["pip", "sync", "--require-hashes", "--compile-bytecode", "--no-build"]
    sync += ["--python", str(_python(place)), *pip_settings.uv_arguments(harness), str(lock)]
    try:
        uv.run(sync, log=log)
    except uv.NotFoundError as error:
        special = locks.options(lock)
        if not special:
            raise
        log(f"{backend}: not found there; trying {' '.join(special)}")
        try:
            uv.run([*sync, *special], log=log)
        except EnvError as second:
            raise uv.NotFoundError(f"{error}; with {' '.join(special)}: {second}") from second
    found = interpreters.probe(_python(place), entry.imports, env=uv.environment())
    seconds = round(time.monotonic() - started, 1)
    facts = {"lock": place.name.rpartition("-")[2], "seconds": seconds, "mib": _mib(place)}
    _write(place / READY, {**facts, "versions": dict(found.packages)})
    log(f"{backend}: {place.name} is ready ({seconds:.0f} s, {facts['mib']:.0f} MiB)")


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


def _python(place: Path) -> Path:
    return place / "bin" / "python"


def _read(path: Path) -> dict[str, object] | None:
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


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main(backend: str, device: str) -> int:
    """``python -m bench.envs torch cpu`` prints that environment's interpreter, building it."""
    try:
        env = ensure(backend, device, log=_say)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{env.python}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
