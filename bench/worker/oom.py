"""Running out of memory, in every framework's words, and how much was asked for.

Worker half. Each framework has types of its own for it, and some only a RuntimeError: the texts are
what tells. tests/unit/test_oom.py has them as they were printed.
"""

from __future__ import annotations

import re

WORDS = re.compile(
    r"out of memory|outofmemory|\bOOM\b|resource_?exhausted|resource exhausted|"
    r"bad_alloc|bad allocation|alloc_failed|"
    r"(cannot|can't|could not|unable to|failed? to) alloc(ate)?\b(?! the)|"
    r"allocate memory failed|memory isn't enough|smaller than requested bytes",
    re.IGNORECASE,
)

SIZES = (
    re.compile(r"\((\d+) ?(?:B|bytes)\)"),  # exact, beside the same in a larger unit
    re.compile(
        r"(?:allocate|allocating|allocate request for|request for|requested bytes of|"
        r"buffer of size|alloc memory of|alloc size:?)\s+([\d.]+)\s*([KMGT]?i?B|bytes|size|\b)",
        re.IGNORECASE,
    ),
)
UNITS = {"k": 10, "m": 20, "g": 30, "t": 40}
"""Powers of two: what frameworks call GB is GiB (torch, Paddle, XLA)."""


def ran_out(error: BaseException) -> bool:
    """Whether an exception says that memory, of the host or of a device, was not enough."""
    said = f"{type(error).__name__} {error}"
    return isinstance(error, MemoryError) or WORDS.search(said) is not None


def asked_mib(text: str) -> float | None:
    """MiB of the allocation that failed; None where the message does not say."""
    for pattern in SIZES:
        if found := pattern.search(text):
            amount = float(found[1].rstrip("."))
            unit = (found[2] if pattern.groups > 1 else "")[:1].lower()
            return amount * 2.0 ** UNITS.get(unit, 0) / 2**20
    return None


def line(error: BaseException, limit: int = 300) -> str:
    """The line of the message that says it, and the size that was asked for."""
    lines = [one.strip() for one in str(error).splitlines()]
    said = next((one for one in lines if WORDS.search(one)), lines[0] if lines else "")
    asked = asked_mib(str(error))
    size = "" if asked is None else f" (asked for {asked:.0f} MiB)"
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    room = limit - len(size)
    return (text if len(text) <= room else text[: room - 3] + "...") + size
