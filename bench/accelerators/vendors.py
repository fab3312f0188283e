"""Which module answers for which kind of device."""

from __future__ import annotations

from bench.accelerators import amd, nvidia
from bench.accelerators.facts import Vendor

VENDORS: dict[str, Vendor] = {"cuda": nvidia, "rocm": amd}

VISIBLE = {
    **{kind: vendor.VISIBLE for kind, vendor in VENDORS.items()},
    "tpu": "TPU_VISIBLE_CHIPS",
}
"""TPUs have no library beside the frameworks: JAX itself names them, in the worker."""


def vendor(kind: str) -> Vendor | None:
    """The module that reads devices of this kind; None where nobody but the framework can."""
    return VENDORS.get(kind)


def variable(kind: str) -> str:
    """The variable that says which devices a process may see; "" for the CPU."""
    return VISIBLE.get(kind, "")
