"""A capability's processes: what one says last, the next is told with its last command."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

from bench import capabilities
from bench.child.launch import Child, Ended
from bench.contract import Cell
from bench.run.turns import Found, Row, Script

Process = Callable[[Cell, str, Callable[[Child], Script]], Generator[Child | None, None, Found]]


def attempt(
    cell: Cell,
    *,
    process: Process,
    ask: Callable[..., dict[str, Any]],
    limits: Callable[[str], dict[str, Any]],
) -> Generator[Child | None, None, tuple[Row, Ended | None]]:
    """What the processes found together, and why one ended early.

    process: carries out a script in a fresh worker. ask: a command of one; limits: its arguments.
    """
    row: Row = {}
    told: dict[str, Any] = {}

    def script(child: Child, commands: Sequence[str]) -> Script:
        *first, last = commands
        for name in first:
            ask(child, name, **limits(name))
        told.update(ask(child, last, **limits(last), **told))
        ask(child, "finish")
        yield from ()

    for commands in capabilities.PROCESSES[cell.capability]:
        found, _, ended = yield from process(cell, "try", partial(script, commands=commands))
        row |= found
        if ended is not None:
            return row, ended
    return row, None
