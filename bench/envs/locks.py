"""The locks: where they are, and how `make lock` compiles them (``python -m bench.envs.locks``).

A lock is a requirements file with every package, version and hash, and no host and no path: it
means the same wherever its files come from. Another package compiles its own with
``python -m bench.envs.locks NAME``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from backends.registry import BACKENDS
from bench import backends_index
from bench.contract import BenchError
from bench.envs import pip_settings, uv
from bench.errors import EXIT_OK, EXIT_USAGE, EnvError, UsageError

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "backends" / "locks"
HARNESS = ROOT / "locks"
DIRECTIVE = "# uv:"
BY_NAME = "python -m bench.envs.locks NAME"
PLATFORMS = {"tpu": "x86_64-manylinux_2_31"}  # libtpu's wheels are for no older system


def lock_file(backend: str, device: str) -> Path:
    """This project's locks lie together; another package says where its own are."""
    own = None if backend in BACKENDS else backends_index.find(backend).lock_folder
    return (own or LOCKS) / f"{backend}-{device}.txt"


def options(lock: Path) -> list[str]:
    """What a ``# uv: ...`` line in the lock's ``.in`` asks for when the site has not the files."""
    wanted = lock.with_suffix(".in")
    lines = wanted.read_text(encoding="utf-8").splitlines() if wanted.exists() else []
    found = (line[len(DIRECTIVE) :].split() for line in lines if line.startswith(DIRECTIVE))
    return [option for line in found for option in line]


def compile_arguments(lock: Path, *, site: Mapping[str, str]) -> list[str]:
    """Where `uv pip compile` may look.

    Never at the site's extra indexes: a small local index lists fewer files, so hashes that
    other machines need would be missing. At its folder of wheels only where the lock says that
    its packages are not on the plain index.
    """
    special = options(lock)
    folder = {"find-links": site["find-links"]} if special and "find-links" in site else {}
    own = {key: site[key] for key in ("index-url", "trusted-host", "cert") if key in site}
    return pip_settings.arguments({**own, **folder}) + ([] if folder else special)


def compile_lock(lock: Path, *, arguments: list[str]) -> None:
    """Resolve ``<lock>.in`` to the newest versions it admits and write them with every hash."""
    wanted = lock.with_suffix(".in")
    # The lock's comments name files relative to the project, or to the other package's folder.
    ours = lock.parent in (LOCKS, HARNESS, ROOT / "workloads")
    base, remade = (ROOT, "make lock") if ours else (lock.parent, BY_NAME)
    command = ["pip", "compile", "--quiet", "--upgrade", "--generate-hashes"]
    command += ["--custom-compile-command", remade, "--output-file", str(lock)]
    python = Path(sys.executable)
    site = compile_arguments(lock, site=pip_settings.effective(python))
    command, env = uv.started([*command, *arguments, *site, str(wanted.relative_to(base))])
    done = subprocess.run(
        command,
        cwd=base,
        env=env,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != 0:
        raise EnvError(f"uv cannot compile {wanted}; what it said is above")


def compile_backend(backend: str) -> None:
    """All locks of one backend, each from its ``.in``."""
    entry = backends_index.find(backend)
    public = (entry.public_lock,) if entry.public else ()
    for device in dict.fromkeys((*entry.locks, *public)):
        platform = PLATFORMS.get(device, "x86_64-manylinux_2_28")
        target = ["--python-version", entry.python, "--python-platform", platform]
        lock = lock_file(backend, device)
        if not lock.with_suffix(".in").is_file():
            raise UsageError(f"{lock.with_suffix('.in')} is missing: write the requirements there")
        compile_lock(lock, arguments=target)
        sys.stdout.write(f"{lock}\n")


def main(backends: Sequence[str]) -> int:
    """The named backends' locks; without a name all of this project's."""
    try:
        for backend in backends:
            compile_backend(backend)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    if backends:
        return EXIT_OK
    # Universal: the harness runs under several versions of Python, a backend under one.
    excludes = ["--excludes", str(HARNESS / "harness.excludes")]
    everywhere = ["--universal", "--python-version", "3.11", *excludes]
    compile_lock(HARNESS / "harness.txt", arguments=everywhere)
    # Files are read from these packages and nothing is imported: no dependencies.
    compile_lock(ROOT / "workloads" / "data.lock", arguments=[*everywhere[:3], "--no-deps"])
    for backend in BACKENDS:
        compile_backend(backend)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
