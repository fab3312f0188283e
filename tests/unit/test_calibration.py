"""Whether the method keeps its promises under the noise of a real machine.

``results/calibration`` holds what ``bench calibrate`` measured: identical workers A and B, and
one slowed by a real busy wait of 5 % of each step. Each answer is drawn from 2,000 times.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench import calibration, resampling
from bench.calibration import TARGET, Answer
from bench.compare.stats import LEVEL, POWER
from bench.compare.verdicts import How
from tests.harness import ROOT

STRICT = How().strict
BATON = ROOT / "results" / "calibration" / "epyc-vm-2cpu" / "baton.csv"


@pytest.fixture(scope="module")
def answers() -> list[Answer]:
    return calibration.answers(BATON)


def of(answers: list[Answer]) -> list[Answer]:
    found = [one for one in answers if not one.slowed]
    assert [one.cell.split("/")[0] for one in found] == ["jax", "torch"]
    assert all(one.together and len(one.logs) >= 20 for one in found)
    return found


def test_identical_workers_are_hardly_ever_called_different(answers):
    """4,000 pilots of two workers that are one program, each until its target is reached."""
    shares = [
        resampling.stopped(one.truth, target=TARGET, level=STRICT).called for one in of(answers)
    ]
    assert np.mean(shares) <= LEVEL


def test_a_slowdown_of_five_percent_is_found(answers):
    """In the noise that identical workers have: 4,000 pilots."""
    for one in of(answers):
        slowed = one.truth - math.log(1.05)
        assert resampling.stopped(slowed, target=TARGET, level=STRICT).called >= 0.95


def test_workers_that_wait_in_every_step_are_measured_as_slower():
    """By a real busy wait of 2, 5 and 10 %: within three standard errors."""
    found = calibration.answers(BATON.with_name("slowed.csv"))
    assert [one.slowed for one in found] == [0, 2, 5, 10]
    for one in found:
        error = one.spread / math.sqrt(len(one.logs))
        assert abs(one.measured - one.slowed / 100) < 3 * error


@pytest.mark.parametrize("fleets", [8, 16])
def test_the_smallest_detectable_effect_is_found_as_often_as_it_says(answers, fleets):
    for one in of(answers):
        found = resampling.found_if_detectable(one.truth, fleets=fleets, level=STRICT)
        assert found >= POWER


def test_taking_turns_halves_the_spread_at_least(answers):
    alone = {one.cell: one for one in calibration.answers(BATON.with_name("sequential.csv"))}
    for one in of(answers):
        assert not alone[one.cell].together
        assert alone[one.cell].spread >= 2 * one.spread
