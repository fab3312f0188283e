"""Resampling normal noise, of which the right answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from bench import resampling
from bench.compare.stats import LEVEL, POWER
from bench.compare.verdicts import How

QUIET = np.random.default_rng(1).normal(0, 0.04, 4000)


def test_identical_workers_are_called_different_as_often_as_the_level_says():
    for fleets in (8, 20):
        share = resampling.called(resampling.exchanged(QUIET), fleets=fleets, level=LEVEL)
        # 2,000 draws of probability 0.01: standard deviation 0.0022.
        assert share == pytest.approx(LEVEL, abs=4 * 0.0022)


def test_a_large_difference_is_always_called():
    assert resampling.called(QUIET - 0.5, fleets=8, level=LEVEL) == 1
    found = resampling.stopped(QUIET - 0.5, target=0.03, level=LEVEL)
    assert (found.called, found.reached) == (1, 1)


def test_the_rule_stops_where_the_interval_is_narrow():
    # t(0.995, n - 1) 0.04 / sqrt(n) is 0.0307 for n = 15 and 0.0295 for n = 16.
    found = resampling.stopped(QUIET, target=0.03, level=LEVEL)
    assert 12 < found.fleets < 18
    assert found.reached > 0.99
    wild = resampling.stopped(QUIET * 10, target=0.03, level=LEVEL)
    assert (wild.reached, wild.fleets) == (0, resampling.MOST)


@pytest.mark.parametrize("noise", [0.02, 0.03, 0.04, 0.075])
def test_stopping_early_keeps_the_level(noise):
    logs = np.random.default_rng(2).normal(0, noise, 100_000)
    found = [
        resampling.stopped(logs, target=0.03, level=How().strict, seed=seed) for seed in range(5)
    ]
    # 10,000 pilots: a standard deviation of 0.001.
    assert np.mean([one.called for one in found]) <= LEVEL + 0.001
    assert all(one.reached == 1 for one in found)


def test_no_noise_stops_at_the_least():
    found = resampling.stopped(np.zeros(10), target=0.03, level=LEVEL)
    assert (found.called, found.fleets) == (0, 8)


@pytest.mark.parametrize("fleets", [4, 8, 20])
def test_the_smallest_detectable_effect_is_found_as_often_as_it_says(fleets):
    found = resampling.found_if_detectable(QUIET, fleets=fleets, level=LEVEL)
    assert found >= POWER
