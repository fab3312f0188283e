"""``python -m bench.envs torch cpu`` prints that environment's interpreter, building it."""

from __future__ import annotations

import sys

from bench.contract import BenchError
from bench.envs import ensure
from bench.errors import EXIT_USAGE


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main(backend: str, device: str) -> int:
    try:
        env = ensure(backend, device, log=_say)
    except BenchError as error:
        _say(str(error))
        return EXIT_USAGE
    sys.stdout.write(f"{env.python}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
