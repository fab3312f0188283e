"""Interpreters: finding one of a given version, and asking one what it has."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.child.scratch import library
from bench.errors import EnvError, UsageError

VERSION_S = 30.0
PROBE_S = 300.0  # a first import from a network file system can take minutes
OLDEST = (3, 9)  # what the worker half is written for

_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"

# Runs in any interpreter: imports the modules named in its arguments, then lists what is there.
_PROBE = """
import importlib, json, re, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
from importlib.metadata import distributions
found = {}
for one in distributions():  # in the order of sys.path: the first of a name is the one imported
    found.setdefault(re.sub("[-_.]+", "-", one.metadata["Name"] or "?").lower(), one.version)
print("\\n" + json.dumps({"version": sys.version_info[:3], "packages": found}))
"""


@dataclass(frozen=True)
class Probe:
    """What an interpreter said of itself. packages: distribution -> version."""

    version: tuple[int, ...]
    packages: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """12 hex digits that change when a package is added, removed or has another version."""
        lines = "\n".join(f"{name}=={self.packages[name]}" for name in sorted(self.packages))
        return hashlib.sha256(lines.encode()).hexdigest()[:12]


def find(version: str) -> Path:
    """An interpreter such as "3.11": this process's own, else the first on PATH that runs.

    A pyenv shim has the name and does not run where its version is not switched on: it is
    passed over. Raises EnvError that says how to get one.
    """
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    if version == own:
        return Path(sys.executable)
    for folder in os.get_exec_path():
        candidate = Path(folder or ".") / f"python{version}"
        if os.access(candidate, os.X_OK) and _version(candidate) == version:
            return candidate.absolute()
    raise EnvError(
        f"no python{version} on PATH that runs: install it (for example the package"
        f" python{version}-venv), or name one with --python BACKEND=/path/to/python"
    )


def probe(python: Path, imports: tuple[str, ...], *, env: Mapping[str, str] | None = None) -> Probe:
    """Import ``imports`` there, in an empty folder; raise EnvError with the last line said."""
    command = [str(python), "-c", _PROBE, *imports]
    what = f"{python} importing {', '.join(imports)}" if imports else f"{python}"
    with tempfile.TemporaryDirectory(prefix="bench-probe-") as scratch:
        try:
            done = subprocess.run(
                command,
                cwd=scratch,
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PROBE_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise EnvError(f"{what} took more than {PROBE_S:.0f} s") from error
        except OSError as error:
            raise EnvError(f"{python} does not run: {error.strerror or error}") from error
    if done.returncode != 0:
        raise EnvError(f"{what} failed: {ending(done.returncode, done.stderr)}")
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
        return Probe(version=tuple(found["version"]), packages=found["packages"])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise EnvError(f"{python} is no Python: it printed nothing that was asked for") from error


def prepare(python: Path, module: str, *, env: Mapping[str, str]) -> None:
    """Run one of this project's modules there, as an environment's last step; EnvError if it fails.

    The environment's own programs, such as a compiler's helpers, come first on PATH.
    """
    path = f"{python.parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    with tempfile.TemporaryDirectory(prefix="bench-prepare-") as scratch:
        done = subprocess.run(
            [str(python), "-m", module],
            cwd=scratch,
            env={**env, "PATH": path, "PYTHONPATH": str(library(Path(scratch), module))},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    if done.returncode != 0:
        raise EnvError(f"{python} running {module} failed: {ending(done.returncode, done.stderr)}")


def brought(backend: str, python: Path) -> Probe:
    """Ask an interpreter that the site provides; UsageError names the mend."""
    mend = f"--python {backend}=/path/to/python or BENCH_PYTHON_{variable(backend)} must name"
    if not python.exists():
        raise UsageError(f"{python} does not exist; {mend} a Python >= 3.9 with numpy")
    if python.is_dir() or not os.access(python, os.X_OK):
        raise UsageError(f"{python} is not executable; {mend} an interpreter, not a folder")
    try:
        found = probe(python, ("numpy",))
    except EnvError as error:
        _runs(python, mend=mend)  # the worse fault is told first
        raise UsageError(f"{error}; install numpy there: {python} -m pip install numpy") from error
    _recent(python, found, mend=mend)
    return found


def _runs(python: Path, *, mend: str) -> None:
    try:
        found = probe(python, ())
    except EnvError as error:
        raise UsageError(f"{error}; {mend} a Python that runs") from error
    _recent(python, found, mend=mend)


def _recent(python: Path, found: Probe, *, mend: str) -> None:
    if found.version < OLDEST:
        said = ".".join(str(part) for part in found.version)
        raise UsageError(f"{python} is Python {said}; {mend} one >= 3.9")


def variable(backend: str) -> str:
    """A backend's name inside the name of an environment variable."""
    return backend.upper().replace("-", "_").replace(".", "_")


def ending(returncode: int, stderr: str) -> str:
    """How a process ended, in one line: its signal, or the last line that it said."""
    if returncode < 0:
        return f"killed by signal {-returncode}"
    lines = stderr.strip().splitlines()
    return lines[-1].strip() if lines else f"exit code {returncode}"


def _version(python: Path) -> str:
    """What a candidate says of itself; empty where it does not run."""
    try:
        done = subprocess.run(
            [str(python), "-c", _VERSION],
            capture_output=True,
            text=True,
            timeout=VERSION_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""  # not an interpreter; the caller looks further
    return done.stdout.strip() if done.returncode == 0 else ""
