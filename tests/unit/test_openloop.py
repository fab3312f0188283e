"""The open loop on a server and a clock that are made up: nothing here waits."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.worker.openloop import SPIN_NS, Clock, Played, flood, play, poisson

MS = 1_000_000


class Exact:
    """Time that only passes where somebody waits or works. overslept: what a sleep adds."""

    def __init__(self, overslept: int = 0) -> None:
        self.at = 7_000  # a clock does not begin at 0
        self.overslept = overslept

    def now(self) -> int:
        return self.at

    def wait_until(self, when_ns: int) -> None:
        self.at = max(self.at, when_ns + self.overslept)


def server(clock: Exact, service: Callable[[int], int]) -> Callable[[int], None]:
    def serve(index: int) -> None:
        clock.at += service(index)

    return serve


def played(
    arrivals: Sequence[int], service: Callable[[int], int], *, patience: int = 10**15
) -> Played:
    clock = Exact()
    return play(server(clock, service), arrivals, patience_ns=patience, clock=clock)  # type: ignore[arg-type]


def test_a_stall_is_felt_by_all_who_come_while_it_lasts() -> None:
    # One request every 10 ms, answered in 1 ms; the third takes 45 and is answered at 65. Those
    # planned for 30, 40, 50 and 60 are answered at 66, 67, 68 and 69, that for 70 at 71. A client
    # that waits for its answers would have seen one slow request and no other.
    found = played([at * 10 * MS for at in range(8)], lambda index: 45 * MS if index == 2 else MS)
    assert [ns // MS for ns in found.latency_ns] == [1, 1, 45, 36, 27, 18, 9, 1]
    assert found.unserved == 0
    assert found.elapsed_ns == 71 * MS


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), min_size=1, max_size=40),
)
def test_latencies_are_those_of_the_queue(requests: list[tuple[int, int]]) -> None:
    """Lindley 1952: who comes next waits for what was left, less the time until then."""
    gaps, services = [gap for gap, _ in requests], [service for _, service in requests]
    arrivals, at, waited, expected = [], 0, 0, []
    for index, (gap, service) in enumerate(requests):
        at += gap
        arrivals.append(at)
        waited = max(0, waited + services[index - 1] - gap) if index else 0
        expected.append(waited + service)
    found = played(arrivals, lambda index: services[index])
    assert found.latency_ns == expected
    assert sum(gaps) == arrivals[-1]


def test_those_never_served_count_with_what_they_had_waited() -> None:
    # 10 requests in 10 ms, 5 ms each; given up 2 ms after the last came, at 9: at 15 the third is
    # answered, and there are seven that came at 3, ..., 9.
    found = played([at * MS for at in range(10)], lambda _: 5 * MS, patience=2 * MS)
    assert found.unserved == 7
    assert [ns // MS for ns in found.latency_ns] == [5, 9, 13, 12, 11, 10, 9, 8, 7, 6]


def test_how_late_an_idle_server_got_a_request_is_not_the_servers() -> None:
    clock = Exact(overslept=3)
    arrivals = [10, 1000, 2000]
    found = play(server(clock, lambda _: 5), arrivals, patience_ns=10**9, clock=clock)  # type: ignore[arg-type]
    assert found.late_ns == [3, 3, 3]
    assert found.latency_ns == [8, 8, 8]  # the user has waited for it all the same


def test_full_load_has_no_gaps() -> None:
    clock = Exact()
    serve = server(clock, lambda index: (1 + index % 2) * MS)
    found = flood(serve, seconds=0.012, least=1, most=100, clock=clock)  # type: ignore[arg-type]
    assert found.latency_ns == [MS, 2 * MS] * 4
    assert found.elapsed_ns == 12 * MS
    few = flood(serve, seconds=1e-9, least=3, most=100, clock=clock)  # type: ignore[arg-type]
    assert len(few.latency_ns) == 3
    many = flood(serve, seconds=60, least=1, most=5, clock=clock)  # type: ignore[arg-type]
    assert len(many.latency_ns) == 5


def test_poisson_arrivals_have_the_rate_and_the_spread() -> None:
    # Of 10,000 exponential gaps the mean is known to 1 %, their standard deviation is the mean.
    arrivals = poisson(100.0, 10_000, seed=1)
    gaps = [after - before for before, after in pairwise(arrivals)]
    assert statistics.mean(gaps) == pytest.approx(10 * MS, rel=0.04)
    assert statistics.stdev(gaps) == pytest.approx(10 * MS, rel=0.06)
    assert arrivals == sorted(arrivals)


def test_one_seed_is_one_pattern_at_any_rate() -> None:
    slow, fast = poisson(10.0, 50, seed=3), poisson(40.0, 50, seed=3)
    assert slow == pytest.approx([4 * at for at in fast], abs=4)
    assert poisson(10.0, 50, seed=4) != slow


@dataclass
class Ticking:
    """A clock whose every look takes 20 microseconds."""

    ticks: Iterator[int]
    slept: float = 0.0

    def now(self) -> int:
        return next(self.ticks) + round(self.slept * 1e9)

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


def test_the_end_of_a_wait_is_not_slept_through() -> None:
    fake = Ticking(count(0, 20_000))
    clock = Clock(now=fake.now, sleep=fake.sleep)
    clock.wait_until(100 * MS)
    assert fake.slept == pytest.approx(0.099)
    assert 100 * MS <= fake.now() <= 100 * MS + 40_000
    clock.wait_until(fake.now() + SPIN_NS // 2)
    assert fake.slept == pytest.approx(0.099), "too short a wait to sleep"
