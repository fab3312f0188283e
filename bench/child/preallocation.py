"""Frameworks that take most of a device's memory when they start, and share it out themselves.

It makes them fast, so it stays on while they are timed. But then the driver's figures are the
pool's size, whatever the model needs: those come from a second process, which takes only what it
uses. ``--setting preallocation=on|off`` makes it the same for both, and the second one needless.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from backends.entry import Entry
from bench.contract import Cell

SETTING = "preallocation"
ON, OFF = "on", "off"
BOTH = "on for speed, off for memory"
NONE: Mapping[str, str] = MappingProxyType({})


def settings(entry: Entry) -> Mapping[str, tuple[str, ...]]:
    """The setting, for a backend that has it."""
    return {SETTING: (ON, OFF)} if entry.preallocation else {}


def pools(cell: Cell, entry: Entry) -> bool:
    """Whether the cell's processes take memory in advance, unless they are told not to."""
    if cell.device == "cpu" or not entry.preallocation:
        return False
    return not any(f"{key}={value}" in entry.no_pool for key, value in cell.settings.items())


def variables(cell: Cell, entry: Entry) -> Mapping[str, str]:
    """What its processes' environment needs for it."""
    off = cell.settings.get(SETTING) == OFF and pools(cell, entry)
    return entry.preallocation if off else NONE


def without(cell: Cell) -> Cell:
    """The same, which takes nothing in advance."""
    return replace(cell, settings={**cell.settings, SETTING: OFF})
