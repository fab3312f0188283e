"""Timing on a clock that the test turns: every figure below is worked out by hand."""

from __future__ import annotations

from itertools import chain, repeat
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import clock

MS = 1_000_000  # ns


class Device:
    """Enqueues at no cost; ``wait`` takes as long as what was enqueued, as on an accelerator."""

    def __init__(self, durations, wait_ns=0):
        self.durations = iter(durations)
        self.wait_ns = wait_ns
        self.now = self.queued = self.steps = 0
        self.calls = []

    def step(self):
        self.calls.append("step")
        self.steps += 1
        self.queued += next(self.durations)

    def wait(self):
        self.calls.append("wait")
        self.now += self.queued + self.wait_ns
        self.queued = 0

    def read(self):
        self.calls.append("clock")
        return self.now


@pytest.fixture
def device(monkeypatch):
    def make(durations, wait_ns=0):
        made = Device(durations, wait_ns)
        monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter_ns=made.read))
        return made

    return make


def test_a_block_lies_between_two_waits(device):
    it = device([3, 4, 5])
    assert clock.block(it.step, it.wait, 3) == 12
    assert it.calls == ["wait", "clock", "step", "step", "step", "wait", "clock"]


def test_what_was_enqueued_before_a_block_is_not_counted(device):
    it = device([1000, 7])
    it.step()
    assert clock.block(it.step, it.wait, 1) == 7


def test_the_closing_wait_belongs_to_a_block_and_the_opening_one_does_not(device):
    it = device(repeat(10), wait_ns=3)
    assert clock.block(it.step, it.wait, 2) == 23  # 2 x 10 + 3


def test_latencies_are_single_steps_each_waited_for(device):
    it = device([5, 6, 7])
    assert clock.latencies(it.step, it.wait, 3) == [5, 6, 7]
    assert it.calls == ["wait", "clock", "step", "wait", "clock"] * 3


def test_steady_steps_end_the_warm_up_after_two_windows(device):
    it = device(repeat(10 * MS))
    found = clock.warm_up(it.step, it.wait, max_blocks=60)
    # One step of 10 ms: 5 of them make a block of 50 ms. Two windows of 3 blocks: 1 + 6 x 5 steps.
    assert found == clock.WarmUp(block_steps=5, block_ns=50 * MS, steps=31, steady=True)
    assert it.steps == 31


@pytest.mark.parametrize(
    ("step_ms", "steps"),
    [
        (50, 1),  # 50 / 50
        (49, 2),  # 50 / 49 = 1.02, rounded up: a block is never shorter than 50 ms
        (16, 4),  # 50 / 16 = 3.1
        (200, 1),  # longer than a block: single steps
    ],
)
def test_a_block_lasts_at_least_50_ms(device, step_ms, steps):
    it = device(repeat(step_ms * MS))
    found = clock.warm_up(it.step, it.wait, max_blocks=60)
    assert (found.block_steps, found.block_ns) == (steps, steps * step_ms * MS)


def test_a_block_grows_when_the_first_step_was_slow(device):
    it = device(chain([1000 * MS], repeat(1 * MS)))
    found = clock.warm_up(it.step, it.wait, max_blocks=60)
    # The first step alone lasts a block, so block 1 is one step of 1 ms; then five of 50 steps.
    assert found == clock.WarmUp(
        block_steps=50, block_ns=50 * MS, steps=1 + 1 + 5 * 50, steady=True
    )
    assert it.steps == 252


def test_a_block_is_long_enough_for_the_fastest_steps(device):
    it = device(chain([50 * MS, 50 * MS, 10 * MS], repeat(50 * MS)))
    found = clock.warm_up(it.step, it.wait, max_blocks=60)
    # Blocks of one step, 50 and 10 ms, then blocks of 5 steps, 50 ms each: 50 10 50 | 50 50 50.
    assert found == clock.WarmUp(block_steps=5, block_ns=250 * MS, steps=23, steady=True)


def test_a_block_never_shrinks(device):
    # Steps that get slower: k stays 5, for a block that is too long harms nothing.
    it = device(chain(repeat(10 * MS, 1 + 5), repeat(100 * MS)))
    found = clock.warm_up(it.step, it.wait, max_blocks=60)
    # per step: 10 | 100 100 | 100 100 100: medians 100 and 100 from the sixth block on.
    assert found == clock.WarmUp(block_steps=5, block_ns=500 * MS, steps=31, steady=True)


def test_steps_that_never_settle_stop_at_the_cap(device):
    # Every block takes twice as long as the one before it.
    it = device(50 * MS * 2**n for n in range(100))
    found = clock.warm_up(it.step, it.wait, max_blocks=8)
    # One step a block. Steps 0 to 8 were taken; the median of the last three is step 7: 50 x 2^7.
    assert found == clock.WarmUp(block_steps=1, block_ns=6400 * MS, steps=9, steady=False)
    assert it.steps == 9


@pytest.mark.parametrize(("later_ms", "steps"), [(105, 7), (106, 9), (95, 7), (94, 9)])
def test_windows_agree_within_a_twentieth(device, later_ms, steps):
    # First step and three blocks of 100 ms, then slower or faster ones. At 105 and at 95 the
    # difference is 5/100, just within, after 6 blocks. At 106 it is not; 8 blocks have 106 in the
    # median of both windows: 100 106 106 | 106 106 106.
    it = device(chain(repeat(100 * MS, 4), repeat(later_ms * MS)))
    found = clock.warm_up(it.step, it.wait, max_blocks=60)
    assert (found.steps, found.steady) == (steps, True)


def test_one_block_runs_whatever_the_cap(device):
    it = device(repeat(10 * MS))
    found = clock.warm_up(it.step, it.wait, max_blocks=0)
    assert found == clock.WarmUp(block_steps=5, block_ns=50 * MS, steps=6, steady=False)


@given(
    durations=st.lists(st.integers(1, 3000), min_size=1, max_size=20),
    max_blocks=st.integers(1, 12),
)
def test_warming_up_counts_truly_whatever_the_steps(durations, max_blocks):
    it = Device(chain(durations, repeat(durations[-1])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "time", SimpleNamespace(perf_counter_ns=it.read))
        found = clock.warm_up(it.step, it.wait, max_blocks=max_blocks, min_block_ns=100)
    blocks = it.calls.count("wait") // 2 - 1  # one of them was the first step's own
    assert found.steps == it.steps
    assert 1 <= blocks <= max_blocks
    assert blocks == max_blocks or found.steady
    assert not found.steady or blocks >= 6
    assert found.block_steps >= 1


@given(
    st.lists(st.integers(0, 10**15), min_size=1, max_size=40),
    st.one_of(st.sampled_from([0, 50, 95, 99, 100]), st.floats(0, 100)),
)
def test_percentiles_are_numpys(values, percent):
    expected = float(np.percentile(np.array(values, np.float64), percent))
    assert clock.percentile(values, percent) == pytest.approx(expected, rel=1e-9, abs=1e-3)


def test_percentiles_by_hand():
    # Four values have three gaps: 50 % is 1.5 gaps in, 95 % 2.85, 99 % 2.97.
    values = [40, 10, 30, 20]
    found = [clock.percentile(values, percent) for percent in (0, 50, 95, 99, 100)]
    assert found == pytest.approx([10, 25, 38.5, 39.7, 40])
    assert clock.percentile([7], 99) == 7


@pytest.mark.parametrize(("percent", "whole"), [(0, 110 * MS), (5, 115.5 * MS), (50, 165 * MS)])
def test_a_slowed_step_is_longer_by_that_much(monkeypatch, percent, whole):
    """A step of 100 ms, a tenth to settle, all of it longer; every look at the clock is 1 us."""
    passed = {"ns": 0}

    def read():
        passed["ns"] += 1000
        return passed["ns"]

    def step():
        passed["ns"] += 100 * MS

    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter_ns=read))
    clock.slowed(step, lambda: None, percent=percent)
    assert passed["ns"] == pytest.approx(whole, rel=1e-4)


def test_processes_that_train_together_warm_up_by_the_slowest(device):
    # Steps of 10 ms here, of 25 ms in another process: 2 of those are a block, and 5 of these.
    it = device(repeat(10 * MS))

    def slowest(values):
        return [2.5 * value for value in values]

    found = clock.warm_up(it.step, it.wait, max_blocks=1, slowest=slowest)
    assert (found.block_steps, found.block_ns) == (2, 50 * MS)
