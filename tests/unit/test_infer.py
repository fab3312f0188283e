"""A model file of the user's: what is asked for, the search for the limit, what is shown."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.infer import options, table
from bench.infer.measure import requests
from bench.infer.options import Rate
from bench.infer.search import LOWEST, PATTERN, SECOND, STEP_BACK, WITHIN, Highest, highest
from bench.worker import served
from bench.worker.openloop import Played


@given(st.floats(0.06, 0.999), st.floats(1.0, 1e6))
def test_the_highest_rate_is_found_between_two_that_were_tried(share: float, full: float) -> None:
    tried: list[float] = []

    def holds(rate: float, _: int) -> bool:
        tried.append(rate)
        return rate <= share * full

    found = highest(holds, full=full)
    assert found.held is not None
    assert found.failed is not None
    assert found.held <= share * full < found.failed <= found.held * (1 + WITHIN)
    assert len(set(tried)) <= 11  # the two ends, and nine halvings of 0.95 to 0.04 x 0.05
    assert max(tried) <= full


def test_where_no_rate_or_every_rate_holds() -> None:
    assert highest(lambda rate, seed: False, full=100.0) == Highest(None, LOWEST * 100)
    assert highest(lambda rate, seed: True, full=100.0) == Highest(100.0, None)


def test_a_rate_that_only_its_own_pattern_held_is_not_believed() -> None:
    def holds(rate: float, seed: int) -> bool:
        return rate <= (50.0 if seed in (PATTERN, SECOND) else 47.0)

    found = highest(holds, full=100.0)
    assert found.held is not None
    assert 47.0 * STEP_BACK <= found.held <= 47.0
    assert found.held < (found.failed or 0) <= 50.0
    assert highest(lambda rate, seed: seed < 3, full=100.0).held is None


def test_one_bad_moment_does_not_decide() -> None:
    stalls = iter([True, False] * 50)

    def holds(rate: float, _: int) -> bool:
        return rate <= 60.0 and not next(stalls)

    found = highest(holds, full=100.0)
    assert found.held is not None
    assert 60.0 / (1 + WITHIN) * STEP_BACK <= found.held <= 60.0


def test_a_rate_that_has_held_already_is_where_the_search_begins() -> None:
    tried: list[float] = []

    def holds(rate: float, _: int) -> bool:
        tried.append(rate)
        return rate <= 70.0

    found = highest(holds, full=100.0, held=50.0)
    assert 70.0 / (1 + WITHIN) <= (found.held or 0) <= 70.0
    assert min(tried) > 50.0
    assert highest(holds, full=60.0, held=65.0).held == 65.0


def test_rates_are_numbers_or_shares_of_full_load() -> None:
    assert options.rates("20, 90%") == [Rate(20.0, share=False), Rate(0.9, share=True)]
    assert Rate(0.5, share=True).per_second(300.0) == 150.0
    assert Rate(20.0, share=False).per_second(300.0) == 20.0
    for text in ("fast", "0", "-3", "5%x", "inf", "nan%"):
        with pytest.raises(UsageError, match="write requests a second"):
            options.rates(text)


def test_sizes_are_named() -> None:
    assert options.sizes(["sequence=128", "a=b=2"]) == {"sequence": 128, "a=b": 2}
    for text in ("sequence", "sequence=0", "=3", "sequence=x"):
        with pytest.raises(UsageError, match="write NAME=N"):
            options.sizes([text])


@pytest.mark.parametrize(
    ("workload", "onnx", "answer"),
    [
        ("infer", "model.onnx", True),
        ("cnn", None, False),
        ("infer", None, "--onnx FILE"),
        ("cnn", "model.onnx", "by no other"),
    ],
)
def test_file_and_workload_belong_together(workload: str, onnx: Any, answer: bool | str) -> None:
    arguments = argparse.Namespace(workload=workload, onnx=onnx)
    if isinstance(answer, str):
        with pytest.raises(UsageError, match=answer):
            options.asked(arguments)
    else:
        assert options.asked(arguments) is answer


def test_a_load_has_enough_requests_for_its_percentiles_within_reason() -> None:
    assert requests(100.0, 10.0) == 1000
    assert requests(10.0, 10.0) == 200  # in 20 s
    assert requests(1.0, 10.0) == 40  # in 40 s: four times as long as asked is enough
    assert requests(0.001, 1.0) == 1


def test_what_was_never_served_is_no_throughput() -> None:
    # Four came in two seconds, of which three were served; the fourth had waited for 1.5 s.
    found = served.summary(Played([10**9, 10**9, 10**9, 15 * 10**8], 2 * 10**9, unserved=1))
    assert found["served_per_s"] == 1.5
    assert found["requests"] == 4
    assert found["unserved"] == 1
    assert found["latency_ms"] == {"p50": 1000.0, "p95": 1425.0, "p99": 1485.0, "max": 1500.0}
    assert found["late_ms_p99"] is None


LOAD: dict[str, Any] = {
    "backend": "fake",
    "precision": "int8",
    "batch": 4,
    "asked": {},
    "status": "ok",
    "load": "full",
    "rate": None,
    "served_per_s": 250.0,
    "latency_ms": {"p50": 3.9, "max": 5.0},
    "requests": 2500,
    "unserved": 0,
    "late_ms_p99": None,
    "output_err": 0.054,
}


def said(**changes: Any) -> str:
    [line] = table.lines([LOAD | changes])
    return line


def test_a_load_is_one_line() -> None:
    assert said() == (
        "fake int8 batch 4: full: 1000 samples/s; ms p50 3.9, max 5 (2500 requests);"
        " outputs off by 0.054 of fp32's largest"
    )
    assert said(asked={"spinning": "off"}).startswith("fake int8 batch 4 spinning=off: full: ")
    rate = said(load="rate", rate=300.0, unserved=7, holds=False, late_ms_p99=2.0)
    assert "rate 300/s: 1000 samples/s" in rate
    assert "7 never served: the rate is beyond what it can do" in rate
    assert "up to 2 ms late: others compute" in rate
    assert rate.endswith("does not hold")


def test_the_limit_and_a_failure_are_one_line_each() -> None:
    limit = {"load": "limit", "slo_ms": 20.0, "percentile": 99, "held_per_s": 212.4}
    assert said(**limit, failed_per_s=220.0).endswith(
        "p99 within 20 ms: holds 212.4 requests/s (849.6 samples/s), not 220"
    )
    assert said(**limit, failed_per_s=None).endswith("more was not tried")
    none = said(**{**limit, "held_per_s": None}, failed_per_s=12.0)
    assert none.endswith("not held at 12 requests/s, the lowest rate tried")
    assert said(status="failed", reason="no\x1b kernel") == "fake int8 batch 4: failed: no kernel"
