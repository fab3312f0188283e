"""Takes the machine's memory: nearly all at once, the rest when it is told to, for a moment.

``python -m tests.campaign.hog SECONDS``: prints ``nearly``, reads a line, prints ``taken``. Of all
processes it is the one that the kernel would end first.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bench import memory

PIECE = 32 << 20
NEARLY, TAKEN = 0.06, 0.02
"""Shares of the memory that are left free; below 0.03 the harness ends a cell."""


def main() -> None:
    Path("/proc/self/oom_score_adj").write_text("1000")
    held: list[bytearray] = []
    take(held, NEARLY)
    print("nearly", flush=True)
    sys.stdin.readline()
    take(held, TAKEN)
    print("taken", flush=True)
    time.sleep(float(sys.argv[1]))


def take(held: list[bytearray], left: float) -> None:
    while memory.available_bytes() > left * memory.total_bytes() + PIECE:
        held.append(bytearray(b"x") * PIECE)  # written to, so that it is there


if __name__ == "__main__":
    main()
