"""What an environment holds: its packages, and under which licences they say they are."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import EnvError

PROBE_S = 120.0

# Runs in any interpreter from 3.9 on. The first of a name on sys.path is the one that is imported.
_ASK = """
import json, re
from importlib.metadata import distributions
found = {}
for one in distributions():
    about = one.metadata
    name = re.sub("[-_.]+", "-", about["Name"] or "?").lower()
    found.setdefault(name, {
        "name": name, "version": one.version,
        "expression": about["License-Expression"], "licence": about["License"],
        "classifiers": about.get_all("Classifier") or [],
    })
print(json.dumps(sorted(found.values(), key=lambda one: one["name"])))
"""

COPYLEFT = re.compile(
    r"\b(A?GPL|LGPL|MPL|EPL|EUPL|CDDL|CC-BY-SA|SSPL|OSL|GNU|Mozilla Public)", re.IGNORECASE
)
"""Families whose conditions pass on to what is built from them, in full or for the file."""

LONGEST = 120
"""Characters of a licence's name; some packages put its whole text there."""

_CLASSIFIER = "License :: "
_NO_NAME = ("OSI Approved", "UNKNOWN", "")


class Package(NamedTuple):
    """licence: as the package declares it, empty where it does not; by SPDX where it does so."""

    name: str
    version: str
    licence: str

    @property
    def doubt(self) -> str:
        """Why somebody should look at its licence; empty where nobody has to."""
        if not self.licence:
            return "unknown"
        return "copyleft" if COPYLEFT.search(self.licence) else ""


def packages(python: Path) -> list[Package]:
    """Of an interpreter, by name. EnvError where it does not answer."""
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", _ASK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PROBE_S,
            check=False,
        )
        found: list[dict[str, Any]] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise EnvError(f"{python} does not say what is installed: {error}") from error
    return [Package(one["name"], one["version"], _licence(one)) for one in found]


def _licence(one: dict[str, Any]) -> str:
    """The SPDX expression (PEP 639), else the classifiers' names, else one line of free text."""
    if one["expression"]:
        return str(one["expression"])
    named = [text.rpartition(" :: ")[2] for text in _licences(one["classifiers"])]
    if named := [name for name in named if name not in _NO_NAME]:
        return " AND ".join(named)
    lines = (one["licence"] or "").strip().splitlines()
    first = lines[0].strip() if lines else ""
    return "" if first in _NO_NAME else first[:LONGEST]


def _licences(classifiers: Sequence[str]) -> list[str]:
    return [text for text in classifiers if text.startswith(_CLASSIFIER)]
