"""Whether what a row says it rests on is there, and is what the row's other columns say.

Each check answers with one Finding, or none where the row claims nothing.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from backends.entry import Entry
from bench import backends_index
from bench.contract import Cell, Optimizer
from bench.dims import ModuleDims
from bench.envs import locks
from bench.grid import SPEC
from bench.provenance import revisions
from bench.provenance.findings import BROKEN, OK, UNVERIFIABLE, Finding
from bench.rows.schema import Row
from bench.trials import TRIAL

BROUGHT = "packages:"
_DIGEST = re.compile(r"[0-9a-f]{12}")
_ELSEWHERE = frozenset({SPEC, TRIAL})
"""What the id has of settings that another check looks at, or that is a column."""


def git_rev(row: Row) -> Finding:
    """The revision, and whether the program was that revision."""
    named = row["git_rev"]
    if not named:
        return Finding("git_rev", UNVERIFIABLE, "names none: made outside a checkout")
    if revisions.commit(named) is None:
        return Finding("git_rev", UNVERIFIABLE, f"{named}: this clone has no such revision")
    if revisions.DIRTY.search(named):
        said = f"{named}: is here, but had local changes, which no row records"
        return Finding("git_rev", UNVERIFIABLE, said)
    return Finding("git_rev", OK, "is here")


def env_lock(row: Row) -> Finding:
    """The lock of the environment, by its hash: in this working tree, else in the revision."""
    digest, check = row["env_lock"], "env_lock"
    if not digest and row["status"] != "ok":
        return Finding(check, OK, "names none: nothing was measured")
    if digest.startswith(BROUGHT):
        said = "a brought environment: only the fingerprint of its packages is known"
        return Finding(check, UNVERIFIABLE, said)
    if not _DIGEST.fullmatch(digest):
        return Finding(check, BROKEN, f"{digest[:20]!r} is no lock's hash")
    for place, known in (("this working tree", _here()), ("the revision", _then(row))):
        if stems := known.get(digest):
            if stems & _fitting(row):
                return Finding(check, OK, f"is in {place}")
            return Finding(check, BROKEN, f"{digest} is the lock of {', '.join(sorted(stems))}")
    return Finding(check, *_lacking(row))


def _lacking(row: Row) -> tuple[str, str]:
    """Verdict on a lock that is nowhere."""
    if row["backend"] not in backends_index.names() or _folder(row["backend"]) != locks.LOCKS:
        return UNVERIFIABLE, "not here, and the backend is another package's"
    if revisions.clean(row["git_rev"]) is None:
        return UNVERIFIABLE, "not here, and what the program was is not, either"
    return BROKEN, f"{row['env_lock']}: neither here nor in the revision is such a lock"


def cell_id(row: Row) -> Finding:
    """The id, made anew of the row's columns and the settings that it names itself."""
    settings = asked(row)
    made = Cell(
        **{name: row[name] for name in ("backend", "workload", "model", "size", "device")},
        **{name: row[name] for name in ("precision", "mode", "track", "batch", "world_size")},
        format=row["export_format"],
        capability=row["capability"],
        compile_cache=row["compile_cache"],
        settings=settings or {},
        dims=ModuleDims("", "", ""),  # no part of an id
        optimizer=Optimizer("", lr=0.0),
    )
    if settings is None or made.id != row["cell_id"]:
        return Finding("cell_id", BROKEN, "is not what the row's columns make")
    if settings.get(TRIAL, "") != row["trial"]:
        return Finding("cell_id", BROKEN, "names another trial than the row")
    return Finding("cell_id", OK, "is what the row's columns make")


def settings(row: Row) -> Iterator[Finding]:
    """What was asked for in settings, against what was read back."""
    told, check = row["settings"] or {}, "settings"
    wanted = {key: value for key, value in (asked(row) or {}).items() if key not in _ELSEWHERE}
    if row["status"] != "ok" or not isinstance(told, Mapping):
        return
    for key, value in wanted.items():
        if key not in told:
            said = f"{key}={value} was asked for, and nothing of that name was read back"
            yield Finding(check, UNVERIFIABLE, said)
        elif value in _words(told[key]):
            yield Finding(check, OK, "asked for and read back")
        elif _words(told[key]) & set(_entry(row["backend"]).settings.get(key, ())):
            said = f"{key}={value} was asked for, and {told[key]} read back"
            yield Finding(check, BROKEN, said)
        else:
            said = f"{key}={value} was asked for; the framework tells it in other words"
            yield Finding(check, UNVERIFIABLE, said)


def asked(row: Row) -> dict[str, str] | None:
    """The settings that a cell's id ends in; None where it ends in something else."""
    columns = ["export_format", "capability"]
    fixed = 10 + sum(bool(row[name]) for name in columns) + (row["compile_cache"] == "warm")
    parts = row["cell_id"].split("/")[fixed:]
    if not all(part.count("=") == 1 for part in parts):
        return None
    pairs = (part.split("=") for part in parts)
    return {unquote(key): unquote(value) for key, value in pairs}


def _words(value: object) -> set[str]:
    return {str(value), json.dumps(value)}


def _entry(backend: str) -> Entry:
    """Rows outlive packages: of a backend that is not installed any more nothing is known."""
    known = backend in backends_index.names()
    nothing = Entry(module="", locks=(), modes=(), imports=(), formats={})
    return backends_index.find(backend) if known else nothing


def _folder(backend: str) -> Path:
    return _entry(backend).lock_folder or locks.LOCKS


def _fitting(row: Row) -> set[str]:
    """Names of the locks that a row may have: its device's, or what stands in for it."""
    backend, device = row["backend"], row["device"]
    instead = _entry(backend).fallbacks.get(device, device)
    return {f"{backend}-{device}", f"{backend}-{instead}"}


@functools.cache
def _here() -> dict[str, set[str]]:
    """Hash -> names, of every backend's locks as they are now."""
    folders = {_folder(name) for name in backends_index.names()} | {locks.LOCKS}
    found: dict[str, set[str]] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.txt")):
            found.setdefault(_digest(path.read_bytes()), set()).add(path.stem)
    return found


def _then(row: Row) -> dict[str, set[str]]:
    revision = revisions.commit(row["git_rev"])
    return _locks_at(revision) if revision else {}


@functools.cache
def _locks_at(revision: str) -> dict[str, set[str]]:
    folder = locks.LOCKS.relative_to(locks.ROOT).as_posix()
    found: dict[str, set[str]] = {}
    for name in revisions.names(revision, folder):
        if name.endswith(".txt"):
            content = revisions.text(revision, f"{folder}/{name}") or b""
            found.setdefault(_digest(content), set()).add(name.removesuffix(".txt"))
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
