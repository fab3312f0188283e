"""``bench audit``: known advisories about what the locks install, by severity."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cvss
from packaging.utils import canonicalize_name

from bench import backends_index, grid
from bench.envs import locks
from bench.errors import EXIT_NO, EXIT_OK, UsageError
from bench.score import advisories, supply
from bench.score.advisories import Advisory

SEVERITIES = ("low", "medium", "high", "critical")
UNKNOWN = "unknown"
"""Nobody has said how severe it is: counts as the worst, for it may be."""

_OTHER_WORDS = {"moderate": "medium"}  # GitHub's
_KINDS = {"CVSS_V2": cvss.CVSS2, "CVSS_V3": cvss.CVSS3, "CVSS_V4": cvss.CVSS4}


class Hit(NamedTuple):
    """An advisory that holds for a package of a lock. fixed: the versions that mend it."""

    lock: str
    package: str
    version: str
    id: str
    severity: str
    fixed: str


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 where a hit is as severe as ``--fail-on``, or nobody knows how severe it is."""
    known = list(advisories.read(arguments.advisories))
    paths = _locks(arguments.backend)
    found = [hit for path in paths for hit in hits(path, known)]
    bad = [hit for hit in found if _rank(hit.severity) >= _rank(arguments.fail_on)]
    if arguments.json:
        print(json.dumps([hit._asdict() for hit in found], indent=1))
    else:
        for hit in sorted(found, key=lambda one: (-_rank(one.severity), one)):
            mend = f"fixed in {hit.fixed}" if hit.fixed else "no fix known"
            print(f"{hit.severity:8} {hit.lock}: {hit.package} {hit.version}: {hit.id} ({mend})")
        counts = Counter(hit.severity for hit in found)
        said = ", ".join(f"{counts[one]} {one}" for one in (UNKNOWN, *SEVERITIES[::-1]))
        print(f"{len(paths)} locks, {len(known)} advisories: {said}", file=sys.stderr)
    return EXIT_NO if bad else EXIT_OK


def hits(path: Path, known: Sequence[Advisory]) -> Iterator[Hit]:
    """Of one lock."""
    about: dict[str, list[Advisory]] = {}
    for one in known:
        for name in advisories.names(one):
            about.setdefault(name, []).append(one)
    for pin in supply.pins(path):
        for one in about.get(str(canonicalize_name(pin.name)), []):
            if advisories.holds(one, pin.name, pin.version):
                fixed = ", ".join(_fixed(one, pin.name))
                yield Hit(path.stem, pin.name, pin.version, str(one["id"]), severity(one), fixed)


def severity(advisory: Advisory) -> str:
    """The database's own word; else the worst that its CVSS vectors say; else ``unknown``."""
    specific = advisory.get("database_specific")
    word = str(specific.get("severity", "")).lower() if isinstance(specific, Mapping) else ""
    word = _OTHER_WORDS.get(word, word)
    if word in SEVERITIES:
        return word
    scored = advisory.get("severity")
    said = [_scored(one) for one in (scored if isinstance(scored, list) else [])]
    return max((one for one in said if one in SEVERITIES), key=_rank, default=UNKNOWN)


def _scored(one: Any) -> str:
    kind = _KINDS.get(str(one.get("type"))) if isinstance(one, Mapping) else None
    if kind is None:
        return UNKNOWN
    try:
        found: Any = kind(str(one.get("score")))
    except cvss.CVSSError:
        return UNKNOWN
    # Versions 2 and 3 have several scores, the base's first.
    word = found.severity if kind is cvss.CVSS4 else found.severities()[0]
    return str(word).lower()


def _rank(word: str) -> int:
    return SEVERITIES.index(word) if word in SEVERITIES else len(SEVERITIES)


def _fixed(advisory: Advisory, package: str) -> list[str]:
    name = canonicalize_name(package)
    events = [
        event
        for one in advisory["affected"]
        if canonicalize_name(str(one.get("package", {}).get("name", ""))) == name
        for span in one.get("ranges", ())
        for event in span.get("events", ())
    ]
    return sorted({str(event["fixed"]) for event in events if "fixed" in event})


def _locks(asked: str) -> list[Path]:
    """Every lock of the backends asked for; of all, the harness's and the data's as well."""
    names = grid.choose("backend", asked, backends_index.names())
    found = [
        path
        for name in names
        for path in sorted(locks.lock_file(name, "cpu").parent.glob(f"{name}-*.txt"))
    ]
    if asked == grid.EVERY:
        found += [locks.HARNESS / "harness.txt", locks.ROOT / "workloads" / "data.lock"]
    if not found:
        raise UsageError(f"{asked} has no lock to audit")
    return found
