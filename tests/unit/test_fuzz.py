"""Each reader of what others may have written, on 2,000 damaged inputs; a million are outside CI:
``python -m tests.fuzz``.
"""

from __future__ import annotations

import pytest

from bench.errors import BenchError, UsageError
from tests.fuzz import engines
from tests.fuzz.targets import TARGETS, Target

INPUTS = 2000


@pytest.mark.parametrize("name", TARGETS)
def test_damage_is_read_or_refused(name):
    watched = engines.Watched(TARGETS[name])
    with engines.limits():
        engines.plain(watched, INPUTS, seed=8)
    assert watched.inputs == INPUTS
    assert 0 < watched.refused < INPUTS  # both ends of the target were met


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_damaged_is_right_at_first(name):
    for seed in TARGETS[name].seeds:
        try:
            TARGETS[name].run(seed)
        except BenchError as error:
            pytest.fail(f"{error}: {seed[:200]!r}")


def two_lines(_: bytes) -> None:
    raise UsageError("two\nlines")


def no_end(_: bytes) -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        (lambda data: data[99], IndexError),
        (two_lines, AssertionError),
        (no_end, engines.Hang),
        (lambda _: bytearray(2 * engines.BALLOON), MemoryError),
    ],
)
def test_what_is_not_promised_is_found(monkeypatch, harm, error):
    monkeypatch.setattr(engines, "INPUT_S", 0.1)
    with engines.limits(), pytest.raises(error):
        engines.plain(engines.Watched(Target(harm, (b"",), (b"",))), 1, seed=8)
