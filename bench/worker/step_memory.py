"""What training needs memory for beside the weights: the optimizer, and a step's activations.

Worker half. After everything was timed, for giving memory back makes the next step slower.
"""

from __future__ import annotations

from collections.abc import Callable

from bench import memory
from bench.contract import Program


def columns(
    program: Program,
    step: Callable[[], None],
    *,
    on_host: bool,
    peak: Callable[[], float | None],
) -> dict[str, float | None]:
    """``optimizer_mib`` and ``activation_mib``, in MiB; None for what the framework does not tell.

    peak: the most that was in use on the device so far, MiB.
    """
    optimizer = program.optimizer_bytes()
    return {
        "optimizer_mib": None if optimizer is None else optimizer / 2**20,
        "activation_mib": _on_host(program, step) if on_host else _on_device(program, peak()),
    }


def _on_host(program: Program, step: Callable[[], None]) -> float | None:
    """By how much a step's highest resident set is above what stays between two steps.

    None where a step does not show: the framework keeps a pool, or the C library cannot give free
    memory back.
    """
    program.wait()
    if program.pools or not memory.give_back():
        return None
    between = memory.resident_bytes()
    memory.reset_peak()
    step()
    program.wait()
    return max(0, memory.peak_bytes() - between) / 2**20


def _on_device(program: Program, peak: float | None) -> float | None:
    """The highest use so far, above what is in use between two steps."""
    program.wait()
    between = program.device_bytes()
    return None if peak is None or between is None else max(0.0, peak - between / 2**20)
