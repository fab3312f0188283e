"""Ratios and intervals over processes, from numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from bench.readme.fairness import table, verdicts


def row(ratio, *, model="cnn", track="out-of-box", status="ok"):
    named = {"backend": "torch", "track": track, "model": model, "public": "lib.Net"}
    return named | {"status": status, "log_ratio": str(math.log(ratio))}


def test_the_interval_is_students_over_the_processes():
    # log-ratios 0.01, 0.02, 0.03: mean 0.02, standard deviation 0.01, standard error 0.0057735;
    # Student's 97.5 % quantile at 2 degrees of freedom is 4.30265: half width 0.0248414.
    (found,) = verdicts([row(math.exp(0.01)), row(math.exp(0.02)), row(math.exp(0.03))])
    assert found.processes == 3
    assert found.ratio == pytest.approx(math.exp(0.02))
    assert found.low == pytest.approx(math.exp(0.02 - 0.0248414), rel=1e-5)
    assert found.high == pytest.approx(math.exp(0.02 + 0.0248414), rel=1e-5)
    assert found.fair


def test_slower_than_the_limit_is_not_fair_and_faster_is():
    slow, fast = verdicts([row(1.031), row(1.031), row(0.5, model="transformer")])
    assert (slow.fair, fast.fair) == (False, True)


def test_one_process_says_nothing_of_how_sure_it_is():
    (found,) = verdicts([row(1.0)])
    assert found.low == 0
    assert found.high > 1e100
    assert "| 1.000 | unknown | 1 |" in list(table([found]))[2]


def test_what_was_not_measured_has_no_verdict():
    assert verdicts([row(1.0, status="unsupported")]) == []


def test_the_table_names_what_was_measured_against():
    lines = list(table(verdicts([row(1.0), row(1.0)])))
    assert lines[2] == "| torch | out-of-box | cnn | lib.Net | 1.000 | 1.000 to 1.000 | 2 |"


def test_tracks_are_never_mixed():
    plain, tuned = verdicts([row(1.0), row(1.5, track="tuned")])
    assert (plain.track, plain.ratio) == ("out-of-box", 1.0)
    assert (tuned.track, tuned.ratio) == ("tuned", pytest.approx(1.5))
