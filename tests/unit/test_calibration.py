"""Whether the method keeps its promises under the noise of a real machine.

``results/calibration`` holds what ``bench calibrate`` measured: identical workers A and B, and
one slowed by a real busy wait of 5 % of each step. Each answer is drawn from 2,000 times.
"""

from __future__ import annotations

import numpy as np
import pytest

from bench import calibration, resampling
from bench.calibration import TARGET, Answer
from bench.compare.stats import LEVEL, POWER
from tests.harness import ROOT

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
    """4,000 comparisons of two workers that are one program."""
    shares = [
        resampling.stopped(one.truth, target=TARGET, level=LEVEL).called for one in of(answers, 0)
    ]
    assert np.mean(shares) <= 0.01


def test_a_slowdown_of_five_percent_is_found(answers):
    for one in of(answers, 5):
        assert one.measured == pytest.approx(0.05, abs=0.02)
        assert resampling.stopped(one.truth, target=TARGET, level=LEVEL).called >= 0.95


@pytest.mark.parametrize("fleets", [8, 16])
def test_the_smallest_detectable_effect_is_found_as_often_as_it_says(answers, fleets):
    for one in of(answers, 0):
        assert resampling.found_if_detectable(one.logs, fleets=fleets, level=LEVEL) >= POWER
