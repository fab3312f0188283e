"""Memory of a step that is known: arrays that it makes, and lets go of."""

from __future__ import annotations

import numpy as np

from bench.contract import Program
from bench.worker import step_memory

SIZE = 64 * 2**20


class Known(Program):
    """Keeps as much as its steps need beside it."""

    def __init__(self) -> None:
        self.kept = np.ones(SIZE, np.uint8)

    def train_step(self) -> None:
        np.ones(SIZE, np.uint8).sum()

    def optimizer_bytes(self) -> int:
        return self.kept.nbytes

    def device_bytes(self) -> int:
        return self.kept.nbytes


def columns(program: Program, *, on_host: bool, peak: float | None) -> dict[str, float | None]:
    return step_memory.columns(program, program.train_step, on_host=on_host, peak=lambda: peak)


def test_on_the_host_a_step_holds_what_it_makes_beside_what_stays():
    found = columns(Known(), on_host=True, peak=None)
    assert found["optimizer_mib"] == 64.0
    assert 63.0 < (found["activation_mib"] or 0) < 72.0


def test_what_a_pool_keeps_does_not_show_and_is_not_claimed():
    program = Known()
    program.pools = True
    assert columns(program, on_host=True, peak=None) == {
        "optimizer_mib": 64.0,
        "activation_mib": None,
    }


def test_on_a_device_the_peak_is_counted_above_what_is_in_use():
    found = columns(Known(), on_host=False, peak=100.0)
    assert found == {"optimizer_mib": 64.0, "activation_mib": 36.0}


def test_what_a_framework_does_not_tell_stays_empty():
    found = columns(Program(), on_host=False, peak=100.0)
    assert found == {"optimizer_mib": None, "activation_mib": None}
