"""What a cell does to its devices: their state before and after, memory, energy, throttling."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Any

from bench.accelerators import power, vendors
from bench.accelerators.choose import Share
from bench.accelerators.facts import Accelerator, Reading, Unreadable, known

COUNTER, POWER = "counter", "power"
"""How energy was obtained: of the device's own counter, or from readings of its power."""


class Gauge:
    """Reads the devices of one cell; on the CPU, and where nobody can read them, it says nothing.

    idle_w: what all of them draw together while nothing runs, or None.
    """

    def __init__(self, mine: Share, *, idle_w: float | None = None) -> None:
        self.mine = mine
        self.idle_w = idle_w
        self.unread = mine.unread
        self.before = self.after = self._read()
        self.spent: list[tuple[str, float | None]] = []
        self.timed_s = 0.0
        self.peak_mib: float | None = None
        self.context_mib: float | None = None
        self.pool_mib: float | None = None

    def look(self, pids: Collection[int], *, context: bool = False) -> None:
        """Note how much memory the driver counts; ``context``: it is what a context alone takes."""
        states = self._read()
        if len(states) != len(
            self.before
        ):  # a driver may be reloaded, or a device fall off the bus
            return
        used = [_used_mib(*pair, pids) for pair in zip(self.before, states, strict=True)]
        if (total := _sum(used)) is None:
            return
        self.peak_mib = max(self.peak_mib or 0.0, total)
        if context:
            self.context_mib = total

    def timed(self, run: Callable[[], list[int]]) -> None:
        """Count the energy of ``run``, which returns the nanoseconds of the blocks that it timed.

        What was done besides, a first step and a few messages, is left out in proportion.
        """
        before, started = self._energy_j(), time.perf_counter()
        # Where there is a counter nobody reads anything while blocks are timed.
        draws = self.mine.devices and before is None
        with power.Watched(self._power_w if draws else None) as watched:
            blocks_s = sum(run()) / 1e9
        after, seconds = self._energy_j(), time.perf_counter() - started
        self.after = self._read()  # still warm: what slowed it down can be seen now
        self.timed_s += blocks_s
        if before is not None and after is not None:
            self.spent.append((COUNTER, (after - before) * blocks_s / seconds))
        else:
            joules = power.joules(watched.samples)
            self.spent.append((POWER, None if joules is None else joules * blocks_s / seconds))

    @property
    def energy_j(self) -> float | None:
        """Of all timed blocks; None where that of some is not known."""
        known = [joules for _, joules in self.spent if joules is not None]
        return sum(known) if known and len(known) == len(self.spent) else None

    @property
    def energy_source(self) -> str:
        """The less certain one, if it had to be changed; "" without energy."""
        sources = {source for source, _ in self.spent}
        return "" if self.energy_j is None else POWER if POWER in sources else COUNTER

    def pooled(self, other: Gauge | None) -> None:
        """What was seen is the size of a pool; what is needed ``other`` has seen, or nobody."""
        self.pool_mib = self.peak_mib
        self.peak_mib = None if other is None else other.peak_mib
        self.context_mib = None if other is None else other.context_mib

    def columns(self) -> dict[str, Any]:
        """The row's; empty on the CPU."""
        if self.mine.kind == "cpu":
            return {}
        row: dict[str, Any] = {
            "energy_j": self.energy_j,
            "energy_source": self.energy_source,
            "peak_driver_mib": self.peak_mib,
            "context_mib": self.context_mib,
            "pool_driver_mib": self.pool_mib,
        }
        if self.energy_j is not None and self.idle_w is not None:
            row["energy_above_idle_j"] = self.energy_j - self.idle_w * self.timed_s
        if self.mine.devices:
            first = self.mine.devices[0]
            row |= {"device_name": first.name, "driver": first.driver}
        states = zip(self.mine.devices, self.before, self.after, strict=False)
        found = [_facts(*one) for one in states]
        row["accelerators"] = found or ([{"unread": self.unread}] if self.unread else None)
        return row

    def _read(self) -> list[Reading]:
        vendor = vendors.vendor(self.mine.kind)
        if vendor is None:
            return []
        try:
            return [vendor.reading(one) for one in self.mine.devices]
        except Unreadable as error:
            self.unread = str(error)
            return []

    def _energy_j(self) -> float | None:
        """Of all devices together; None where one of them does not count it."""
        vendor = vendors.vendor(self.mine.kind)
        if vendor is None or not self.mine.devices:
            return None
        try:
            counts = [vendor.energy_j(one) for one in self.mine.devices]
        except Unreadable as error:
            self.unread = str(error)
            return None
        return _sum(counts)

    def _power_w(self) -> float | None:
        """What all devices draw together now; asked for by a thread, so it raises nothing."""
        vendor = vendors.vendor(self.mine.kind)
        if vendor is None:
            return None
        try:
            drawn = [vendor.power_w(one) for one in self.mine.devices]
        except Unreadable:
            return None
        return _sum(drawn)


def power_w(states: Collection[Reading]) -> float | None:
    """What devices draw together now; None where one of them does not say."""
    return _sum([state.power_w for state in states])


def _sum(values: Collection[float | None]) -> float | None:
    """None where one of them, or all, are not known."""
    return None if not values or None in values else sum(filter(None, values))


def _used_mib(before: Reading, now: Reading, pids: Collection[int]) -> float | None:
    """Of the processes ``pids`` by the driver's own count. Where it does not tell, as inside a
    container that has process ids of its own, how much more of the device is in use than before.
    """
    own = [user.mib for user in now.users if user.pid in pids]
    if own and None not in own:
        return sum(filter(None, own))
    if before.used_mib is None or now.used_mib is None:
        return None
    return max(0.0, now.used_mib - before.used_mib)


def _facts(one: Accelerator, before: Reading, after: Reading) -> dict[str, Any]:
    counted = after.throttled_s
    slowed = {why: counted[why] - was for why, was in before.throttled_s.items() if why in counted}
    states = {"before": known(asdict(before)), "after": known(asdict(after))}
    for state in states.values():
        state.pop("throttled_s", None)
    device = known(asdict(one))
    del device["token"]
    return {**device, **states, "throttled_s": slowed}
