"""Which devices a cell gets, and whether anybody else computes on them."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.accelerators import vendors
from bench.accelerators.facts import Accelerator, Reading, Unreadable
from bench.errors import UsageError

BUSY = 0.1
"""Share of the last second or so in which some kernel ran: above it somebody computes."""

OCCUPIED = 0.05
"""Share of the memory: an idle driver keeps less, and a process that it does not show more."""

PATIENCE_S = 10.0  # a driver takes a while to clear up after a process that was killed
LOOK_S = 0.2


@dataclass(frozen=True)
class Share:
    """What a cell's processes may see.

    tokens: for the vendor's variable; None leaves it as it is. devices: the same with their facts,
    none where nobody can read them. unread: why.
    """

    kind: str
    tokens: tuple[str, ...] | None
    devices: tuple[Accelerator, ...] = ()
    unread: str = ""

    @property
    def env(self) -> dict[str, str]:
        """For the worker's environment; the parent's stays as it is."""
        if self.kind == "cpu":  # a framework that sees a GPU takes it, or opens a context on it
            return dict.fromkeys(vendors.VISIBLE.values(), "")
        if self.tokens is None:
            return {}
        return {vendors.variable(self.kind): ",".join(self.tokens)}


def named(text: str) -> tuple[str, dict[str, tuple[str, ...]]]:
    """``cuda:0+2,cpu`` -> the kinds ``cuda,cpu``, and which devices of a kind are meant.

    UsageError for which device of a kind that has no numbers.
    """
    kinds, asked = [], {}
    for part in text.split(","):
        kind, colon, which = part.strip().partition(":")
        kinds.append(kind)
        if not colon:
            continue
        names = tuple(name.strip() for name in which.split("+"))
        if not vendors.variable(kind) or not all(names):
            raise UsageError(
                f"--device {part.strip()}: write KIND:INDEX or KIND:UUID, several with +, such as"
                f" cuda:0+1; the kinds are {', '.join(vendors.VISIBLE)}"
            )
        asked[kind] = names
    return ",".join(kinds), asked


def share(kind: str, asked: Sequence[str], count: int) -> Share:
    """The first ``count`` of the devices asked for, or of all that this process may see.

    asked: indexes as the vendor's own tool counts, or the beginnings of UUIDs. There may be fewer.
    """
    vendor = vendors.vendor(kind)
    if vendor is None:
        return Share(kind, tuple(asked) or None)
    try:
        there = vendor.devices()
    except Unreadable as error:
        return Share(kind, tuple(asked[:count]) or None, unread=str(error))
    hidden = os.environ.get(vendor.VISIBLE)
    seen = there if hidden is None else _visible(there, hidden)
    wanted = [_named(name, there, kind) for name in asked] or seen
    for one in wanted:
        if one not in seen:
            raise UsageError(
                f"{kind}:{one.index} ({one.name}) is hidden by {vendor.VISIBLE}={hidden}: unset"
                " it, or ask for one that it names"
            )
    mine = tuple(wanted[:count])
    return Share(kind, tuple(one.token for one in mine), mine)


def _visible(there: Sequence[Accelerator], listed: str) -> list[Accelerator]:
    """What the variable leaves, in order; CUDA stops at the first name that it does not know."""
    found: list[Accelerator] = []
    for name in filter(None, listed.split(",")):
        matches = _matches(name.strip(), there)
        if len(matches) != 1:
            break
        found += matches
    return found


def _named(name: str, there: Sequence[Accelerator], kind: str) -> Accelerator:
    matches = _matches(name, there)
    if len(matches) != 1:
        listed = ", ".join(f"{one.index} ({one.name}, {one.uuid})" for one in there) or "none"
        how = "fits more than one of" if matches else "is none of"
        raise UsageError(f"--device {kind}:{name} {how} the devices here: {listed}")
    return matches[0]


def _matches(name: str, there: Sequence[Accelerator]) -> list[Accelerator]:
    if name.isdigit():
        return [one for one in there if str(one.index) == name]
    return [one for one in there if one.uuid.lower().startswith(name.lower())]


def occupied(one: Accelerator, state: Reading) -> str:
    """Who computes on a device, in words; "" where it is free."""
    place = f"{one.name} (index {one.index})"
    if state.users:
        who = "; ".join(
            f"process {user.pid}"
            + (f" ({user.name})" if user.name else "")
            + (f", {user.mib:.0f} MiB" if user.mib is not None else "")
            for user in state.users
        )
        return f"{place} is used by {who}"
    if state.busy is not None and state.busy > BUSY:
        return f"{place} computes {state.busy:.0%} of the time, for a process that is not shown"
    if state.used_mib is not None and state.used_mib > OCCUPIED * one.memory_mib:
        return f"{state.used_mib:.0f} MiB of {place} are in use, by a process that is not shown"
    return ""


def busy(mine: Share, *, patience_s: float = PATIENCE_S) -> str:
    """Why a cell may not start on these devices, after waiting for what was just killed; or ""."""
    vendor = vendors.vendor(mine.kind)
    until = time.monotonic() + patience_s
    while vendor is not None:
        try:
            found = [occupied(one, vendor.reading(one)) for one in mine.devices]
        except Unreadable:
            return ""  # a device that cannot be read is not known to be busy; the row has no facts
        if not any(found):
            return ""
        if time.monotonic() >= until:
            return "; ".join(filter(None, found))
        time.sleep(LOOK_S)
    return ""
