"""The search for the largest batch: what is tried next, and what is then known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.run.largest_batch import MOST, Known, following, known


def searched(room: int, first: int) -> dict[int, str]:
    """All that is tried on a device that has room for batches up to ``room``."""
    outcomes: dict[int, str] = {}
    while (batch := following(outcomes, first=first)) is not None:
        assert batch not in outcomes, "nothing is tried twice"
        outcomes[batch] = "ok" if batch <= room else "oom"
        assert len(outcomes) < 60
    return outcomes


@pytest.mark.parametrize(
    ("room", "first", "tried", "found"),
    [
        # Doubled from 32 to 128; 96 and 80 have no room, 72 has; the next multiple of 8 is 80.
        (75, 32, [32, 64, 128, 96, 80, 72], Known(72, 80, None)),
        (11, 4, [4, 8, 16, 12, 10, 11], Known(11, 12, None)),  # below 16 exactly
        (3, 32, [32, 16, 8, 4, 2, 3], Known(3, 4, None)),
        (0, 4, [4, 2, 1], Known(0, 1, None)),
        # 512 to 1024: halved until the gap is 5 % of what trains.
        (700, 256, [256, 512, 1024, 768, 640, 704, 672], Known(672, 704, None)),
    ],
)
def test_it_doubles_until_there_is_no_room_and_halves_between(room, first, tried, found):
    outcomes = searched(room, first)
    assert list(outcomes) == tried
    assert known(outcomes) == found


@given(room=st.integers(0, 20_000), first=st.integers(1, 5_000))
def test_what_is_found_has_room_and_is_close_to_the_most(room, first):
    found = known(searched(room, first))
    assert found.trains <= room < found.full
    assert found.full - found.trains <= (1 if found.trains < 16 else max(8, 0.05 * found.trains))


@given(room=st.integers(0, 20_000), first=st.integers(1, 5_000))
def test_it_takes_few_trials(room, first):
    # Doubling and halving: each at most log2 of 20,000 / 1, and as much again.
    assert len(searched(room, first)) <= 2 * 15 + 2


def test_what_ends_otherwise_stops_the_search():
    outcomes = {32: "ok", 64: "timeout"}
    assert following(outcomes, first=32) is None
    assert known(outcomes) == Known(32, None, 64)


def test_where_memory_never_ends_the_doubling_does():
    assert max(searched(2 * MOST, 32)) == MOST
    assert known(searched(2 * MOST, 32)) == Known(MOST, None, None)


def test_a_batch_that_had_no_room_when_measured_is_searched_below():
    """72 trained in its trial, but its measurement ran out: what is known is 64."""
    outcomes = searched(75, 32) | {72: "oom"}
    assert known(outcomes) == Known(64, 72, None)
    assert following(outcomes, first=32) is None
