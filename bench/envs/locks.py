"""The locks: where they are, and how `make lock` compiles them (``python -m bench.envs.locks``).

A lock is a requirements file with every package, version and hash, and no host and no path: it
means the same wherever its files come from.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from backends.registry import BACKENDS
from bench.envs import pip_settings, uv
from bench.errors import EnvError

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "backends" / "locks"
HARNESS = ROOT / "locks"
DIRECTIVE = "# uv:"
PLATFORMS = {"tpu": "x86_64-manylinux_2_31"}  # libtpu's wheels are for no older system


def lock_file(backend: str, device: str) -> Path:
    return LOCKS / f"{backend}-{device}.txt"


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
    wanted = lock.with_suffix(".in").relative_to(ROOT)
    command = [
        uv.program(),
        "pip",
        "compile",
        "--quiet",
        "--no-config",
        "--upgrade",
        "--generate-hashes",
    ]
    command += ["--custom-compile-command", "make lock", "--output-file", str(lock)]
    python = Path(sys.executable)
    site = compile_arguments(lock, site=pip_settings.effective(python))
    done = subprocess.run(
        [*command, *arguments, *site, str(wanted)],
        cwd=ROOT,  # so that the lock's comments name files relative to the project
        env=uv.environment(),
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != 0:
        raise EnvError(f"uv cannot compile {wanted}; what it said is above")


def main() -> int:
    # Universal: the harness runs under several versions of Python, a backend under one.
    excludes = ["--excludes", str(HARNESS / "harness.excludes")]
    everywhere = ["--universal", "--python-version", "3.11", *excludes]
    compile_lock(HARNESS / "harness.txt", arguments=everywhere)
    # Files are read from these packages and nothing is imported: no dependencies.
    compile_lock(ROOT / "workloads" / "data.lock", arguments=[*everywhere[:3], "--no-deps"])
    for backend, entry in BACKENDS.items():
        public = (entry.public_lock,) if entry.public else ()
        for device in dict.fromkeys((*entry.locks, *public)):
            platform = PLATFORMS.get(device, "x86_64-manylinux_2_28")
            target = ["--python-version", entry.python, "--python-platform", platform]
            compile_lock(lock_file(backend, device), arguments=target)
            sys.stdout.write(f"{lock_file(backend, device).relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
