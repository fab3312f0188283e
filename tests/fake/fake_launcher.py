"""A launcher like torchrun: N processes of a script, each told its rank; one that dies ends all."""

from __future__ import annotations

import os
import subprocess
import sys
import time

HEAD_START_S = 0.5  # so that the others may have died before the first rank begins


def main(first: int, count: int, script: list[str]) -> int:
    ranks = []
    for rank in reversed(range(first, first + count)):
        env = {**os.environ, "RANK": str(rank)}
        ranks.append(subprocess.Popen([sys.executable, *script], env=env))
        time.sleep(HEAD_START_S if rank > first else 0)
    while all(process.poll() is None for process in ranks):
        time.sleep(0.01)
    for process in ranks:
        if process.poll() == 0:
            process.wait()
    failed = any(process.poll() not in (None, 0) for process in ranks)
    for process in ranks:
        if failed:
            process.kill()
        process.wait()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
