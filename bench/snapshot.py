"""``bench snapshot``: dated facts that are in no row: releases, and environments as built here.

Only a package client is asked: uv, for the newest version that was there on a day. What it says is
written to ``results/snapshots`` with the day on which it was so.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from packaging.version import Version

from bench import backends_index, envs, grid
from bench.envs import uv
from bench.envs.build import READY, read_facts
from bench.errors import EXIT_OK, EnvError, UsageError
from bench.rows import schema
from bench.score.snapshots import ENVIRONMENTS, FOLDER, PYTHONS, SUPPORT

FIRST_DAY = date(2015, 1, 1)  # no framework here is older
TWO_YEARS = timedelta(days=730)
ASK_S = 60.0


def run(arguments: argparse.Namespace) -> int:
    """Write both files anew; a backend whose index does not answer keeps its old line."""
    names = grid.choose("backend", arguments.backend, backends_index.names())
    today = datetime.now(UTC).date()
    found = []
    for name in names:
        distribution = backends_index.find(name).distribution or name
        try:
            found.append(support(name, distribution, today))
            print(f"{name}: {distribution} {found[-1]['latest']} of {found[-1]['released']}")
        except EnvError as error:
            print(f"{name}: {error}", file=sys.stderr)
    _write(SUPPORT, found)
    _write(ENVIRONMENTS, environments(names, today))
    return EXIT_OK


def support(backend: str, distribution: str, today: date) -> dict[str, Any]:
    """Latest release and its day, releases in two years, newest Python. Raises EnvError."""
    served = {one: newest(distribution, today, python=one) for one in PYTHONS}
    if not any(served.values()):
        raise EnvError(f"no version of {distribution} found: is the package index in reach?")
    latest = max(filter(None, served.values()), key=Version)
    python = next(one for one in PYTHONS if served[one] == latest)
    return {
        "taken": today.isoformat(),
        "backend": backend,
        "distribution": distribution,
        "latest": latest,
        "released": first_day(distribution, latest, today, python=python).isoformat(),
        "releases_2y": releases(distribution, today - TWO_YEARS, today),
        "newest_python": python,
    }


def newest(distribution: str, day: date, *, python: str = PYTHONS[-1]) -> str | None:
    """The newest version that was there on ``day``, for an interpreter; None if there was none."""
    asked = ["pip", "compile", "-", "--no-deps", "--no-header", "--quiet"]
    asked += ["--prerelease", "disallow"]
    choice = ["--python-version", python, "--exclude-newer", (day + timedelta(days=1)).isoformat()]
    done = _client([uv.program(), "--no-config", *asked, *choice], distribution)
    pinned = [line for line in done.stdout.splitlines() if line.startswith(f"{distribution}==")]
    return pinned[0].partition("==")[2].split()[0] if pinned else None


def first_day(distribution: str, version: str, today: date, *, python: str) -> date:
    """The day from which on ``version`` is the newest, found by halving."""
    low, high = FIRST_DAY, today
    while low < high:
        middle = low + (high - low) // 2
        if newest(distribution, middle, python=python) == version:
            high = middle
        else:
            low = middle + timedelta(days=1)
    return low


def releases(distribution: str, since: date, until: date) -> int:
    """Days on which the newest version (for PYTHONS[-1]) changed, found by halving.

    A patch of an older line is not counted; two releases on one day count once.
    """

    def changes(low: date, before: str | None, high: date, after: str | None) -> int:
        if before == after:
            return 0
        if high - low <= timedelta(days=1):
            return 1
        middle = low + (high - low) // 2
        between = newest(distribution, middle)
        return changes(low, before, middle, between) + changes(middle, between, high, after)

    return changes(since, newest(distribution, since), until, newest(distribution, until))


def _client(command: list[str], text: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            input=text,
            env=uv.environment(),
            capture_output=True,
            text=True,
            timeout=ASK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvError(f"the package client does not answer: {error}") from error


def environments(names: Iterable[str], today: date) -> list[dict[str, Any]]:
    """Size and time of the CPU environments that are built here."""
    found = []
    for state in envs.states():
        if state.kind == "ready" and state.device == "cpu" and state.backend in names:
            facts = read_facts(state.place / READY) or {}
            found.append(
                {
                    "taken": today.isoformat(),
                    "backend": state.backend,
                    "lock": facts["lock"],
                    "mib": facts["mib"],
                    "seconds": facts["seconds"],
                }
            )
    return found


def _write(name: str, found: Iterable[Mapping[str, Any]], folder: Path = FOLDER) -> None:
    """Replace the lines of the backends that were found; the others stay."""
    path = folder / name
    lines = {
        str(one["backend"]): {k: schema.field(str(v)) for k, v in one.items()} for one in found
    }
    if not lines:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                lines = {str(one["backend"]): one for one in csv.DictReader(file)} | lines
        with path.open("w", encoding="utf-8", newline="") as file:
            header = list(next(iter(lines.values())))
            writer = csv.DictWriter(file, header, lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines[name] for name in sorted(lines))
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
