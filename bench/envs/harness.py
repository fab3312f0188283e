"""The harness's own packages, into .venv: ``python -m bench.envs.harness`` (``make venv`` runs it).

By uv, as the backends' environments: pip unpacks and compiles one package after the other. And
without their bytecode, for nothing of the harness's own is timed: Python compiles what it imports.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.contract import BenchError
from bench.envs import locks, pip_settings, uv
from bench.errors import EXIT_OK, EXIT_USAGE
from bench.text import redacted


def main() -> int:
    """Install what locks/harness.txt names, and nothing that has to be built."""
    python = Path(sys.executable)
    # --no-deps: the lock is complete (uv resolved it) and leaves one dependency out on purpose.
    install = ["pip", "install", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    install += ["--python", str(python), "--requirements", str(locks.HARNESS / "harness.txt")]
    os.environ.setdefault("UV_COMPILE_BYTECODE", "0")
    try:
        uv.run([*install, *pip_settings.uv_arguments(python)], log=print)
    except BenchError as error:
        sys.stderr.write(f"{redacted(str(error))}\n")
        return EXIT_USAGE
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
