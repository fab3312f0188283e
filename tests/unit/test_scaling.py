"""What several devices bring, from rows whose efficiency is worked out by hand."""

from __future__ import annotations

import math

import pytest
from rich.console import Console

from bench import scaling
from tests.rows import ok_row


def trained(rate, world_size=1, **changes):
    ranks = [{"rank": rank} for rank in range(world_size)] if world_size > 1 else None
    made = {"samples_per_s": rate, "world_size": world_size, "threads": 1, "ranks": ranks}
    setting = changes.pop("setting", "")
    parts = f"torch/cnn/cnn/tiny/cpu/fp32/eager/out-of-box/b32/w{world_size}{setting}"
    return ok_row(**{**made, "cell_id": parts, "batch": 32, **changes})


def test_two_devices_that_bring_one_and_a_half_are_three_quarters_efficient():
    # Geometric means: 100 and 150, so 150 / (2 x 100).
    rows = [trained(50.0), trained(200.0), trained(75.0, 2), trained(300.0, 2)]
    (one,) = scaling.scalings(rows)
    assert (one.world_size, one.processes) == (2, 2)
    assert one.efficiency == pytest.approx(0.75)
    assert one.low < 0.75 < one.high
    assert math.sqrt(one.low * one.high) == pytest.approx(0.75)


def test_a_single_process_has_no_interval():
    (one,) = scaling.scalings([trained(100.0), trained(190.0, 2)])
    assert (one.efficiency, one.low, one.high) == (pytest.approx(0.95), None, None)


def test_the_sum_of_the_gradients_is_a_share_of_the_step():
    # 2 x 32 samples at 640 a second: a step of 100 ms.
    (one,) = scaling.scalings([trained(400.0), trained(640.0, 2, allreduce_ms=10.0)])
    assert one.allreduce == pytest.approx(0.1)


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16"},
        {"host": "another"},
        {"threads": 2},
        {"setting": "/malloc=keep"},
        {"status": "failed", "reason": "for some reason"},
    ],
)
def test_only_what_is_alike_is_compared(changes):
    assert (
        scaling.scalings([trained(100.0), trained(150.0, 2) | trained(150.0, 2, **changes)]) == []
    )


def test_sharding_is_compared_with_one_device_that_has_nothing_to_share():
    assert len(scaling.scalings([trained(9.0), trained(9.0, 2, setting="/sharding=on")])) == 1


def test_the_threads_of_one_process_with_two_devices_are_those_of_both():
    driven = trained(150.0, 2) | {"threads": 2, "ranks": None}
    assert len(scaling.scalings([trained(100.0), driven])) == 1


def test_it_is_printed_with_what_it_rests_on():
    console = Console(width=200)
    with console.capture() as printed:
        scaling.render(scaling.scalings([trained(100.0), trained(150.0, 2)]), console)
    text = printed.get()
    assert "75%" in text
    assert "one process" in text
