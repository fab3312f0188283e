"""What is said of an accelerator, whoever made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

MIB = 2**20


class Unreadable(Exception):
    """The vendor's library is missing, or it refuses to answer; the message says which and why."""


@dataclass(frozen=True)
class Accelerator:
    """One device, or one partition of it, in the order of the PCI bus.

    token: what the vendor's variable of visible devices calls it. partition: MIG or compute
    partition, "" where it is whole. ecc: None where the device does not say.
    """

    index: int
    uuid: str
    token: str
    name: str
    memory_mib: float
    driver: str
    partition: str = ""
    ecc: bool | None = None


@dataclass(frozen=True)
class User:
    """A process that computes on a device. mib: of its memory; None where the driver hides it."""

    pid: int
    name: str
    mib: float | None


@dataclass(frozen=True)
class Reading:
    """The state of a device at one moment; None is what it does not tell.

    energy_j: of a counter that only grows. throttled: reasons in force now. throttled_s: reason ->
    seconds on a counter that only grows. ecc_errors: uncorrected ones, since the driver was loaded.
    """

    used_mib: float | None = None
    busy: float | None = None
    core_mhz: float | None = None
    memory_mhz: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    temperature_c: float | None = None
    ecc_errors: int | None = None
    throttled: tuple[str, ...] = ()
    throttled_s: Mapping[str, float] = field(default_factory=dict)
    users: tuple[User, ...] = ()


class Vendor(Protocol):
    """A module that asks one vendor's library; its functions raise ``Unreadable``.

    VISIBLE: the variable that says which devices a process may see.
    """

    VISIBLE: str

    def devices(self) -> list[Accelerator]: ...
    def reading(self, one: Accelerator) -> Reading: ...
    def power_w(self, one: Accelerator) -> float | None: ...
    def energy_j(self, one: Accelerator) -> float | None: ...


def known(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The same without what the device does not tell: empty is not zero."""
    return {key: value for key, value in facts.items() if value not in (None, "", (), {}, [])}
