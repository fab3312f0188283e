"""A site's pip settings, in uv's words.

uv does not read pip's configuration, and a site with a mirror or a folder of wheels says so in
pip's: without this, what `pip install` can do there, uv could not.
"""

from __future__ import annotations

import ast
import functools
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bench.errors import EnvError

READ_S = 60.0
TRUE = {"1", "on", "t", "true", "y", "yes"}
SECTIONS = ("global", "install", ":env:")
"""Where `pip install` looks; a later section replaces an earlier one's value (pip's own order)."""


def uv_arguments(python: Path) -> list[str]:
    """What makes `uv pip` look for packages where `python -m pip install` looks.

    Only for installs with ``--require-hashes``: pip takes the best match among all indexes,
    while uv stops at the first index that knows a name, so a small local index would hide the
    versions that only the main one has. uv calls pip's way unsafe, for a stranger could publish
    under a private name; with hashes nothing but the locked file is ever accepted.
    """
    return arguments(effective(python))


def uv_environment(python: Path) -> dict[str, str]:
    """What uv only takes from the environment: the time that one download may stall."""
    timeout = effective(python).get("default-timeout") or effective(python).get("timeout")
    return {"UV_HTTP_TIMEOUT": timeout} if timeout else {}


@functools.cache
def effective(python: Path) -> Mapping[str, str]:
    """Options of pip in force, as strings; a list's items are separated by white space."""
    command = [str(python), "-m", "pip", "config", "list"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=READ_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvError(f"cannot ask {python} for pip's settings: {error}") from error
    if "No module named pip" in done.stderr:  # an interpreter without pip has only its variables
        return parse(_variables(os.environ))
    if done.returncode != 0:
        raise EnvError(f"pip's settings cannot be read: {done.stderr.strip().splitlines()[-1]}")
    return parse(done.stdout)


def parse(listing: str) -> dict[str, str]:
    """Lines such as ``global.find-links='/wheels'`` -> the value in force of every option."""
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.rpartition(".")
        if section in found and value:
            found[section][option] = str(ast.literal_eval(value))
    return {key: value for section in SECTIONS for key, value in found[section].items()}


def arguments(options: Mapping[str, str]) -> list[str]:
    """Arguments of uv for pip's options; places on this machine that do not exist are dropped."""
    found: list[str] = []
    for place in _places(options, "find-links"):
        found += ["--find-links", place]
    if options.get("no-index", "").lower() in TRUE:
        return [*found, "--no-index"]
    for place in _places(options, "index-url"):
        found += ["--default-index", place]
    extra = _places(options, "extra-index-url")
    for place in extra:
        found += ["--index", place]
    if extra:
        found += ["--index-strategy", "unsafe-best-match"]
    for host in options.get("trusted-host", "").split():
        found += ["--allow-insecure-host", host]
    if cert := options.get("cert"):
        found += ["--cert", cert]
    return found


def without_folders(found: list[str]) -> list[str]:
    """``arguments`` less the folders of wheels."""
    option = "--find-links"
    return [
        one for before, one in zip(["", *found], found, strict=False) if option not in (before, one)
    ]


def _places(options: Mapping[str, str], option: str) -> list[str]:
    return [place for place in options.get(option, "").split() if _exists(place)]


def _exists(place: str) -> bool:
    """False for a folder or file: URL that is not there; other URLs are not asked."""
    parts = urlsplit(place)
    if parts.scheme == "file":
        return Path(unquote(parts.path)).exists()
    return bool(parts.scheme) or Path(place).expanduser().exists()


def _variables(environ: Mapping[str, str]) -> str:
    """PIP_* variables as `pip config list` would print them."""
    names = [name for name in environ if name.startswith("PIP_")]
    return "\n".join(
        f":env:.{name[4:].lower().replace('_', '-')}={environ[name]!r}" for name in names
    )
