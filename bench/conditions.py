"""Under what conditions a worker ran, whatever its framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

SETTINGS: Mapping[str, tuple[str, ...]] = MappingProxyType({"malloc": ("keep",)})
"""Settings of every backend, for what its processes get from the system and not from the framework.

malloc=keep: the C library keeps freed memory for the next step instead of giving it back to the
kernel, which has to clear every page anew, and asks for huge pages; whether glibc keeps it by
itself is decided by where the last live block happens to lie, process by process. The allocators
that PyTorch's and TensorFlow's tuning guides advise (jemalloc, tcmalloc) keep it too.
"""

MALLOC_KEEP = {
    # glibc's manual, "Memory Allocation Tunables": never mmap a block, never trim the heap, and
    # madvise huge pages.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0"
    ":glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=268435456"
    ":glibc.malloc.arena_max=1"
}

MUCH = 0.05
"""Share of the CPUs from which others are said to have disturbed a row: two rows of which one is
would seem to differ."""


def disturbed(shares: Sequence[float]) -> str:
    """Of timed rows, the shares of the CPUs that others had meanwhile: a sentence, or ""."""
    much = [share for share in shares if share > MUCH]
    if not much:
        return ""
    return (
        f"{len(much)} of {len(shares)} timed rows were disturbed:"
        f" others had up to {max(much):.0%} of the CPUs meanwhile"
    )
