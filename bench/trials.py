"""Cells that only try something: the parity gate, a few commands, and no timing. As data.

A trial leaves a row as every cell does, with its kind in the column ``trial``; what measures and
compares leaves such rows out. Both halves read this: stdlib only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TRIAL = "trial"
"""The setting of such a cell, and the column of its row."""

TRIED = "tried"
"""Where a row's settings say what was found."""

BATCH, PARITY, WAIT, MEMORY = "batch", "parity", "wait", "memory"

FEW_STEPS = 5
"""What a step allocates, its second has, too."""

BLOCKS = (1, 2, 4, 8)
"""Steps of the blocks whose times have to grow with them."""

HELD_NUMBERS = 2**28
"""Of 4 bytes: 1 GiB, beside which the code that a kernel needs is little."""

Commands = tuple[tuple[str, Mapping[str, Any]], ...]

COMMANDS: Mapping[str, Commands] = {
    BATCH: (("latency", {"count": FEW_STEPS}),),
    PARITY: (("latency", {"count": FEW_STEPS}),),
    WAIT: (("blocks", {}),),
    MEMORY: (("touch", {}), ("hold", {})),
}
"""What follows the gate; the process ends with ``finish``."""

CONTEXT = ("start", "touch")
"""After these a device holds what every program needs, and nothing of a cell's own."""
