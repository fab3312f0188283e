"""A stand-in for uv that makes environments without any package: ``fake_uv.py FOLDER venv ...``.

It appends its arguments to FOLDER/calls, makes ``bin/python`` as a script that runs this
interpreter, and obeys what a test has put into FOLDER: ``not-found`` (file names of locks whose
packages do not exist), ``cured-by`` (an option that makes them exist), ``broken`` (fail as after
a network error), ``hidden`` (a folder of wheels has another build) and ``gate`` (a FIFO: wait there
until someone writes).
"""

from __future__ import annotations

import sys
from pathlib import Path

PYTHON = f"{sys.executable} -I -S"  # no packages to look through: it starts at once


def obey(folder: Path, arguments: list[str]) -> int:
    if arguments == ["--version"]:
        sys.stdout.write("uv 0.0 (stand-in)\n")
        return 0
    with (folder / "calls").open("a", encoding="utf-8") as stream:
        stream.write(" ".join(arguments) + "\n")
    if "venv" in arguments:
        python = Path(arguments[-1]) / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {PYTHON} "$@"\n', encoding="utf-8")
        python.chmod(0o755)
        if (folder / "gate").exists():
            (folder / "gate").read_text(encoding="utf-8")
        return 0
    lock = next(Path(one) for one in arguments if one.endswith(".txt"))
    cure = folder / "cured-by"
    cured = cure.exists() and cure.read_text(encoding="utf-8") in arguments
    missing = folder / "not-found"
    if missing.exists() and lock.name in missing.read_text(encoding="utf-8") and not cured:
        sys.stderr.write("error: No solution found when resolving dependencies\n")
        sys.stderr.write(f"  cause: Because there is no version of {lock.stem}\n")
        return 1
    if (folder / "hidden").exists() and "--find-links" in arguments:
        sys.stderr.write("error: Failed to download `package==1+other`\n")
        sys.stderr.write("  cause: no hashes were provided or computed for: package==1+other\n")
        return 1
    if (folder / "broken").exists():
        sys.stderr.write("Resolved 1 package\nerror: Request failed after 3 retries\n")
        return 2
    sys.stderr.write("Downloading package (3.0MiB)\n + package==1\n")
    return 0


if __name__ == "__main__":
    sys.exit(obey(Path(sys.argv[1]), sys.argv[2:]))
