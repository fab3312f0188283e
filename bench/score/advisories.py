"""Security: known advisories about what the locks install, from files in OSV form that are given.

The form is OSV's (schema 1.x): an object with ``id``, ``modified`` and ``affected``, which names a
package, versions and ranges of them. A file holds one object, a list, or an object whose ``vulns``
is a list, as OSV's interface answers; a folder holds such files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bench.errors import UsageError
from bench.rows.reading import words
from bench.score.evidence import Evidence, Subject, certain, half
from bench.score.supply import packages

ADVISORIES_HALF = 2.0
MOST_BYTES = 64 << 20

Advisory = Mapping[str, Any]


def security(backends: Iterable[str], path: Path) -> list[Evidence]:
    """How many advisories hold for each backend's CPU lock; UsageError names what is unreadable."""
    known = list(read(path))
    newest = max((str(one.get("modified", ""))[:10] for one in known), default="")
    by_name: dict[str, list[Advisory]] = {}
    for one in known:
        for name in names(one):
            by_name.setdefault(name, []).append(one)
    found = []
    for backend in backends:
        if pinned := packages(backend):
            ids = [
                str(one["id"])
                for name, version in pinned.items()
                for one in by_name.get(str(canonicalize_name(name)), [])
                if holds(one, name, version)
            ]
            source = (f"{path.name}, newest of {newest or 'no date'}", *sorted(set(ids))[:20])
            subject = Subject(backend, "security", "known advisories", source)
            count = len(set(ids))
            share = half(count, ADVISORIES_HALF)
            found.append(certain(subject, count, "advisories", share=share))
    return found


def names(advisory: Advisory) -> set[str]:
    """The PyPI packages, normalised, that an advisory is about."""
    return {_name(affected) for affected in _affected(advisory)}


def holds(advisory: Advisory, name: str, version: str) -> bool:
    """Whether an advisory, unless it was withdrawn, is about this version of a PyPI package."""
    if advisory.get("withdrawn"):
        return False
    mine = [one for one in _affected(advisory) if _name(one) == canonicalize_name(name)]
    return any(_listed(one, version) or _within(one, version) for one in mine)


def _listed(affected: Mapping[str, Any], version: str) -> bool:
    plain = version.partition("+")[0]  # a local build, such as +cpu, is the version that it is of
    return plain in affected.get("versions", ())


def _within(affected: Mapping[str, Any], version: str) -> bool:
    spans = [span for span in affected.get("ranges", ()) if span.get("type") == "ECOSYSTEM"]
    try:
        at = Version(Version(version).public)
        return any(_inside(span.get("events", ()), at) for span in spans)
    except (InvalidVersion, TypeError, AttributeError) as error:
        raise UsageError(f"an advisory has no version where one belongs: {error}") from error


def _inside(events: Iterable[Mapping[str, str]], at: Version) -> bool:
    """The last event that the version has reached says whether it is affected."""
    inside = False
    for event in events:
        if "introduced" in event and at >= Version(event["introduced"]):
            inside = True
        if "fixed" in event and at >= Version(event["fixed"]):
            inside = False
        if "last_affected" in event and at > Version(event["last_affected"]):
            inside = False
    return inside


def _affected(advisory: Advisory) -> Iterator[Mapping[str, Any]]:
    for one in advisory["affected"]:
        if one.get("package", {}).get("ecosystem") == "PyPI":
            yield one


def _name(affected: Mapping[str, Any]) -> str:
    return str(canonicalize_name(str(affected["package"].get("name", ""))))


def read(path: Path) -> Iterator[Advisory]:
    """Every advisory of a file or a folder of ``*.json``."""
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"{path} holds no advisories (*.json in OSV form)")
    for file in files:
        try:
            if file.stat().st_size > MOST_BYTES:
                raise UsageError(f"{file} is larger than {MOST_BYTES >> 20} MiB: split it")
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            said = words(error) if isinstance(error, OSError | ValueError) else "nested too deeply"
            raise UsageError(f"cannot read {file}: {said}") from error
        for one in _objects(content):
            if not _valid(one):
                raise UsageError(f"{file} is not in OSV form: an advisory has an id and 'affected'")
            yield one


def _objects(content: Any) -> list[Any]:
    if isinstance(content, dict) and isinstance(content.get("vulns"), list):
        return list(content["vulns"])
    return content if isinstance(content, list) else [content]


def _valid(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and isinstance(one.get("id"), str)
        and isinstance(one.get("affected"), list)
        and all(isinstance(each, dict) for each in one["affected"])
    )
