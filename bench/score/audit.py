"""``bench advisories``: what the advisory databases say of the locks, through pip-audit, as a file.

The file is in OSV form and dated by its name, so that a score can be repeated without a network:
``bench score RESULTS --advisories FILE``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import backends_index
from bench.errors import EXIT_OK, UsageError
from bench.score.supply import packages

_ASK = ("--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json")
_ANSWERED = (0, 1)  # pip-audit's exit code 1: something was found

Found = Mapping[str, Any]


def run(arguments: argparse.Namespace) -> int:
    """Every backend's CPU lock, always all: a lock that was not asked about would look clean."""
    now = datetime.now(UTC)
    out = arguments.out or Path(f"advisories-{now:%Y-%m-%d}.json")
    if out.exists():
        raise UsageError(f"{out} is there already: name another with --out")
    made: dict[tuple[str, str], dict[str, Any]] = {}
    for backend in backends_index.names():
        found = _asked(packages(backend), arguments)
        for name, version, one in found:
            advisory = made.setdefault((one["id"], name), _advisory(one, name, now))
            versions = advisory["affected"][0]["versions"]
            versions += [version] if version not in versions else []
        print(f"{backend}: {len({one['id'] for _, _, one in found})} advisories")
    out.write_text(json.dumps(list(made.values()), indent=1) + "\n", encoding="utf-8")
    print(f"written: {out}; bench score RESULTS --advisories {out}")
    return EXIT_OK


def _advisory(one: Found, name: str, now: datetime) -> dict[str, Any]:
    return {
        "id": one["id"],
        "aliases": one["aliases"],
        "modified": f"{now:%Y-%m-%dT%H:%M:%SZ}",  # when it was asked
        "summary": str(one.get("description") or "").partition("\n")[0],
        "affected": [{"package": {"ecosystem": "PyPI", "name": name}, "versions": []}],
    }


def _asked(
    pinned: Mapping[str, str], arguments: argparse.Namespace
) -> list[tuple[str, str, Found]]:
    """Name, version and advisory, of every package that has any."""
    if not pinned:
        return []
    # A local build, such as +cpu, is the version that it is of; databases know only that.
    lines = [f"{name}=={version.partition('+')[0]}" for name, version in pinned.items()]
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text("\n".join(lines) + "\n", encoding="utf-8")
        answer = _pip_audit(wanted, arguments)
    return [
        (str(one["name"]), str(one["version"]), each)
        for one in answer
        for each in one.get("vulns", [])
    ]


def _pip_audit(wanted: Path, arguments: argparse.Namespace) -> Iterable[Found]:
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(wanted), *_ASK]
    command += ["--vulnerability-service", arguments.service, "--timeout", "15"]
    command += ["--osv-url", arguments.osv_url] if arguments.osv_url else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found: list[Found] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError) as error:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        mend = "without a network give a file in OSV form to bench score --advisories"
        raise UsageError(f"pip-audit got no answer: {said[:300]}; {mend}") from error
    if done.returncode not in _ANSWERED:
        raise UsageError(f"pip-audit ended with exit code {done.returncode}")
    return found
