"""Running uv: which one, with which environment variables, and what its failures mean."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.envs import pip_settings
from bench.errors import EnvError
from bench.text import redacted

PROGRESS = ("Downloading", "Building", "Prepared", "Bytecode")
NOT_FOUND = ("No solution found", "no hashes were provided or computed")
"""The second where another build of a version was found first, such as ``2.13.0+cpu``."""

REDIRECTING = {"VIRTUAL_ENV", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH", "PYTHONHOME"}
"""What the user's shell may have set and must not lead an install elsewhere."""


HIDDEN = {"--default-index": "UV_DEFAULT_INDEX", "--index": "UV_INDEX"}
"""Options whose URL may hold a password, and the variables that say the same."""


class NotFoundError(EnvError):
    """The lock's packages are not where this machine looks for packages."""


def program() -> str:
    """The harness's own uv, whose version the harness lock pins; else one on PATH."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else "uv"


def environment() -> dict[str, str]:
    """For every uv process and for what is asked of the environments that it builds."""
    kept = {key: value for key, value in os.environ.items() if key not in REDIRECTING}
    site = pip_settings.uv_environment(Path(sys.executable))
    # Bytecode now, or the first measured process would compile it and seem to import slowly.
    # Never an interpreter that nobody chose, from a host that nobody named.
    return {"UV_COMPILE_BYTECODE": "1", **site, **kept, "UV_PYTHON_DOWNLOADS": "never"}


def started(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """A command line of uv and its environment; the URLs of indexes are in the latter, for every
    user of a machine can read the former.
    """
    command, env = [program(), "--no-config"], environment()
    rest, said = iter(arguments), dict[str, list[str]]()
    for one in rest:
        if one in HIDDEN:
            said.setdefault(HIDDEN[one], []).append(next(rest))
        else:
            command.append(one)
    return command, {**env, **{name: " ".join(urls) for name, urls in said.items()}}


def run(arguments: list[str], *, log: Callable[[str], None]) -> None:
    """Run uv; its progress goes to ``log``. Raises NotFoundError or EnvError with its words."""
    lines: list[str] = []
    command, env = started(arguments)
    try:
        with subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                lines.append(redacted(line.strip()))
                if lines[-1].startswith(PROGRESS):
                    log(f"  {lines[-1]}")
    except OSError as error:
        raise EnvError(f"uv does not run ({error.strerror}): run `make venv`") from error
    if process.returncode != 0:
        said = complaint(lines) or f"exit code {process.returncode}"
        raise _kind(said)(f"uv {' '.join(arguments[:2])} failed: {said}")


def complaint(lines: list[str]) -> str:
    """What uv complains of, in one line: its first "error:" and the causes below it."""
    said = [line for line in lines if line]
    start = next((at for at, line in enumerate(said) if line.startswith("error:")), 0)
    return "; ".join(line.removeprefix("error: ") for line in said[start:])


def _kind(said: str) -> type[EnvError]:
    return NotFoundError if any(words in said for words in NOT_FOUND) else EnvError
