"""Does one lock make the same files twice? ``python -m bench.provenance.rebuilt onnxruntime cpu``.

Builds the environment in two new folders, each with a cache of its own, so that every package is
fetched and unpacked twice, and compares all files. Takes minutes, the network and the disk of two
environments, so no test does it; both are removed in the end.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.contract import BenchError
from bench.errors import EXIT_NO, EXIT_OK, EXIT_USAGE, EnvError

LEFT_OUT = {
    "*.pyc": "bytecode holds its source's path and when that was unpacked",
    "ready.json": "holds how many seconds the build took",
}
"""Files that are not compared, with the reason."""

HERE = b"@HERE@"
"""What stands for the environment's own path, which the scripts in ``bin`` hold."""


def main(backend: str, device: str) -> int:
    """Exit code 1 where they differ; each file that does is named."""
    try:
        with tempfile.TemporaryDirectory(prefix="rebuilt-") as scratch:
            one, other = (files(_built(backend, device, Path(scratch) / n)) for n in "12")
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    differ = sorted(name for name in one | other if one.get(name) != other.get(name))
    sys.stdout.writelines(f"differs: {name}\n" for name in differ)
    sys.stdout.write(f"{backend}-{device}: {len(one | other)} files, {len(differ)} differ\n")
    sys.stdout.writelines(f"left out: {name}: {why}\n" for name, why in LEFT_OUT.items())
    return EXIT_NO if differ else EXIT_OK


def _built(backend: str, device: str, folder: Path) -> Path:
    """The environment, made in ``folder``."""
    folder.mkdir()
    own = {"BENCH_ENVS": str(folder / "envs"), "UV_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "bench.envs", backend, device],
        env={**os.environ, **own},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise EnvError(f"{backend} for {device} cannot be built; what it said is above")
    return Path(done.stdout.strip()).parents[1]


def files(place: Path) -> dict[str, str]:
    """Of an environment: each file's SHA-256, its own path in them aside."""
    return {
        path.relative_to(place).as_posix(): hashlib.sha256(_content(path, place)).hexdigest()
        for path in _compared(place)
    }


def _compared(place: Path) -> Iterator[Path]:
    for path in sorted(place.rglob("*")):
        left = any(fnmatch.fnmatch(path.name, pattern) for pattern in LEFT_OUT)
        if path.is_symlink() or (path.is_file() and not left):
            yield path


def _content(path: Path, place: Path) -> bytes:
    if path.is_symlink():
        return str(path.readlink()).encode().replace(str(place).encode(), HERE)
    data = path.read_bytes()
    if path.name == "RECORD":
        # It has the hash of each script, whose first line is the environment's path.
        lines = data.splitlines(keepends=True)
        data = b"".join(line for line in lines if not line.startswith(b"../../../bin/"))
    return data.replace(str(place).encode(), HERE)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
