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


def of(answers: list[Answer], slowed: float) -> list[Answer]:
    found = [one for one in answers if one.slowed == slowed]
    assert [one.cell.split("/")[0] for one in found] == ["jax", "torch"]
    assert all(one.together and len(one.logs) >= 20 for one in found)
    return found


def test_identical_workers_are_hardly_ever_called_different(answers):
    """4,000 pilots of two workers that are one program, each until its target is reached."""
    shares = [
        resampling.stopped(one.truth, target=TARGET, level=STRICT).called for one in of(answers, 0)
    ]
    assert np.mean(shares) <= LEVEL


def test_a_slowdown_of_five_percent_is_found(answers):
    """In the noise that identical workers have: 4,000 pilots."""
    for one in of(answers, 0):
        slowed = one.truth - math.log(1.05)
        assert resampling.stopped(slowed, target=TARGET, level=STRICT).called >= 0.95


def test_workers_that_wait_in_every_step_are_measured_as_slower(answers):
    for one in of(answers, 5):
        error = one.spread / math.sqrt(len(one.logs))
        assert one.measured > 0
        assert abs(one.measured - 0.05) < 3 * error


@pytest.mark.parametrize("fleets", [8, 16])
def test_the_smallest_detectable_effect_is_found_as_often_as_it_says(answers, fleets):
    for one in of(answers, 0):
        found = resampling.found_if_detectable(one.truth, fleets=fleets, level=STRICT)
        assert found >= POWER


def test_taking_turns_halves_the_spread_at_least(answers):
    alone = {one.cell: one for one in calibration.answers(BATON.with_name("sequential.csv"))}
    for one in of(answers, 0):
        assert not alone[one.cell].together
        assert alone[one.cell].spread >= 2 * one.spread
