"""Figures here are derived by hand, or are textbook values of Student's distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from bench.compare import stats
from bench.compare.stats import Estimates, moments, paired, unpaired


def of(*values: float) -> stats.Moments:
    return moments(np.array(values), np.zeros(len(values), np.intp), 1)


def test_moments_of_groups():
    found = moments(np.array([1.0, 3.0, 10.0]), np.array([0, 0, 2]), 3)
    assert found.n.tolist() == [2, 0, 1]
    assert found.mean[0] == 2
    assert found.mean[2] == 10
    assert math.isnan(found.mean[1])
    assert found.variance[0] == 2  # ((1-2)^2 + (3-2)^2) / 1
    assert math.isnan(found.variance[1])
    assert math.isnan(found.variance[2])


def test_paired_interval_by_hand():
    # Mean 0.2, s = 0.1, n = 3: se = 0.1 / sqrt(3); t(0.975, 2) = 4.302653.
    found = paired(of(0.1, 0.2, 0.3))
    low, high = found.interval(0.05)
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert low[0] == pytest.approx(0.2 - half, rel=1e-6)
    assert high[0] == pytest.approx(0.2 + half, rel=1e-6)


def test_welch_by_hand():
    # Variances 2 and 8 of two values each: se^2 = 1 + 4; df = 25 / (1 + 16).
    found = unpaired(of(0.0, 2.0), of(5.0, 9.0))
    assert found.log_ratio[0] == 6
    assert found.se[0] == pytest.approx(math.sqrt(5))
    assert found.df[0] == pytest.approx(25 / 17)


def test_one_process_has_no_interval_and_no_probability():
    for found in (paired(of(0.5)), unpaired(of(1.0), of(2.0, 3.0)), unpaired(of(1.0), of())):
        low, high = found.interval(0.01)
        assert not low[0] > -math.inf
        assert not high[0] < math.inf
        assert found.p_different()[0] == 1
        assert found.p_same(0.03)[0] == 1
        assert found.detectable(0.01, tests=1)[0] == math.inf


def test_figures_without_any_spread_differ_or_do_not():
    equal, other = unpaired(of(1.0, 1.0), of(1.0, 1.0)), unpaired(of(1.0, 1.0), of(1.5, 1.5))
    assert equal.p_different()[0] == 1
    assert equal.p_same(0.03)[0] == 0
    assert other.p_different()[0] == 0
    assert other.p_same(0.03)[0] == 1


def test_same_needs_both_sides():
    # Student's t with 9 degrees: 1.833 is the 0.95 quantile. Far inside the margin p is small ...
    near = Estimates(np.array([0.0]), np.array([0.01]), np.array([9.0]))
    assert near.p_same(0.03)[0] == pytest.approx(0.0079, abs=5e-4)  # t = ln 1.03 / 0.01 = 2.956
    # ... at its edge it is a half, beyond it is more.
    edge = Estimates(np.array([math.log(1.03)]), np.array([0.01]), np.array([9.0]))
    assert edge.p_same(0.03)[0] == pytest.approx(0.5)
    beyond = Estimates(np.array([-0.1]), np.array([0.01]), np.array([9.0]))
    assert beyond.p_same(0.03)[0] > 0.99


def test_adjusting_by_hand():
    # Benjamini and Hochberg: p * m / rank, made monotone: 0.01*3/1, 0.02*3/2, 0.5*3/3.
    found = stats.adjusted(np.array([0.5, 0.01, math.nan, 0.02]))
    assert found[[0, 1, 3]] == pytest.approx([0.5, 0.03, 0.03])
    assert math.isnan(found[2])
    assert np.isnan(stats.adjusted(np.array([math.nan]))).all()


@pytest.mark.parametrize("n", [3, 8, 30])
def test_what_one_pilot_calls_detectable_the_next_one_finds(n):
    """20,000 pairs of pilots with normal noise: standard deviation of the share 0.002."""
    draws = np.random.default_rng(n).normal(size=(2, 20_000, n))
    first, second = (
        paired(stats.Moments(np.full(20_000, float(n)), one.mean(axis=1), one.var(axis=1, ddof=1)))
        for one in draws
    )
    effect = first.detectable(0.01, tests=1)
    found = Estimates(second.log_ratio + effect, second.se, second.df).p_different() <= 0.01
    assert found.mean() == pytest.approx(stats.AIM, abs=0.01)
    assert found.mean() >= stats.POWER


def test_more_tests_and_fewer_processes_need_larger_effects():
    one = Estimates(np.zeros(3), np.full(3, 0.01), np.array([0.0, 4.0, 9.0]))
    alone, among = one.detectable(0.01, tests=1), one.detectable(0.01, tests=10)
    assert alone[0] == math.inf, "without degrees of freedom nothing is found"
    assert alone[1] > alone[2] > 0
    assert (among[1:] > alone[1:]).all()


@given(some.lists(some.floats(-3, 3), min_size=2, max_size=9), some.floats(-2, 2))
def test_a_shift_moves_the_interval_and_no_more(values, shift):
    base, moved = paired(of(*values)), paired(of(*(value + shift for value in values)))
    assert moved.log_ratio[0] == pytest.approx(base.log_ratio[0] + shift, abs=1e-9)
    assert moved.se[0] == pytest.approx(base.se[0], abs=1e-6)


@given(
    some.lists(some.floats(-3, 3), min_size=2, max_size=9),
    some.lists(some.floats(-3, 3), min_size=2, max_size=9),
)
def test_exchanging_the_sides_inverts_the_ratio(one, other):
    there, back = unpaired(of(*one), of(*other)), unpaired(of(*other), of(*one))
    assert there.log_ratio[0] == pytest.approx(-back.log_ratio[0])
    assert there.p_different()[0] == pytest.approx(back.p_different()[0])
    assert there.p_same(0.03)[0] == pytest.approx(back.p_same(0.03)[0])
