"""docs/reliability.md is what the committed outcomes make, and its links lead to tests."""

from __future__ import annotations

from tests import reliability


def test_the_page_is_what_the_outcomes_make():
    page = reliability.PAGE.read_text(encoding="utf-8")
    assert reliability.filled(page) == page, "run `python -m tests.reliability`"


def test_every_fault_that_was_done_is_in_the_table():
    done = {line["fault"] for _, line in reliability.outcomes("fault")}
    assert done == set(reliability.IN_CI)
    for test in filter(None, reliability.IN_CI.values()):
        assert (reliability.ROOT / "tests" / test).exists()


def test_nothing_is_left_as_it_was_found():
    faults = [trial for _, line in reliability.outcomes("fault") for trial in line["trials"]]
    inputs = [line for _, line in reliability.outcomes("target")]
    assert all(trial["kept"] for trial in faults)
    assert not any(line["found"] for line in inputs)
    assert sum(line["inputs"] for line in inputs) >= 1_000_000
