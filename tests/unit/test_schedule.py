from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bench import schedule
from bench.grid import Task
from tests.cells import cell


def tasks(*backends: str, repeats: int = 1, mib: int = 100, **changes) -> list[Task]:
    spec = SimpleNamespace(memory_mib=mib)
    return [
        Task(cell(backend=name, **changes), repeat, spec)
        for repeat in range(1, repeats + 1)
        for name in backends
    ]


def names(fleets) -> list[list[str]]:
    return [sorted(task.cell.backend for task in fleet) for fleet in fleets]


def test_sequential_keeps_the_order_asked_for_and_a_cell_s_repeats_together():
    found = schedule.fleets(tasks("b", "a", repeats=2), how="sequential", seed=1, room_mib=10**6)
    assert [[(task.cell.backend, task.repeat) for task in fleet] for fleet in found] == [
        [("b", 1)], [("b", 2)], [("a", 1)], [("a", 2)]
    ]  # fmt: skip


def test_interleaved_runs_every_cell_once_a_repeat_in_changing_order():
    mine = tasks(*"abcdefgh", repeats=3)
    found = schedule.fleets(mine, how="interleaved", seed=1, room_mib=10**6)
    assert all(len(fleet) == 1 for fleet in found)
    orders = [
        [fleet[0].cell.backend for fleet in found if fleet[0].repeat == repeat]
        for repeat in (1, 2, 3)
    ]
    assert all(sorted(order) == list("abcdefgh") for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    again = schedule.fleets(mine, how="interleaved", seed=1, room_mib=10**6)
    assert again == found
    assert schedule.fleets(mine, how="interleaved", seed=2, room_mib=10**6) != found


def test_rivals_share_a_fleet_and_others_do_not():
    mine = tasks("a", "b") + tasks("a", "b", batch=7) + tasks("a", mode="compiled")
    found = schedule.fleets(mine, how="baton", seed=1, room_mib=10**6)
    assert sorted(names(found)) == [["a", "a", "b"], ["a", "b"]]


def test_what_cannot_run_or_uses_an_accelerator_is_alone():
    refused = [replace(task, refused="no lock") for task in tasks("a", "b")]
    found = schedule.fleets(
        refused + tasks("c", "d", device="cuda"), how="baton", seed=1, room_mib=10**6
    )
    assert sorted(names(found)) == [["a"], ["b"], ["c"], ["d"]]


@pytest.mark.parametrize(
    ("room", "sizes"), [(1000, [5]), (300, [2, 3]), (100, [1] * 5), (1, [1] * 5)]
)
def test_a_fleet_fits_into_memory(room, sizes):
    found = schedule.fleets(tasks(*"abcde"), how="baton", seed=1, room_mib=room)
    assert sorted(map(len, found)) == sizes


@given(some.integers(1, 20), some.text(max_size=5))
def test_turns_go_through_the_fleet_and_back(members, seed):
    rounds = schedule.rounds(members)
    found = schedule.order(members, seed=seed)
    assert Counter(found) == dict.fromkeys(range(members), 2 * rounds)
    for at in range(rounds):
        once = found[2 * members * at :][: 2 * members]
        assert once == once[::-1]


def test_large_fleets_have_fewer_rounds():
    # 120 turns: of four 15 rounds there and back, of seven 8.
    assert [schedule.rounds(members) for members in (2, 4, 5, 7, 10, 30)] == [12, 12, 12, 8, 6, 5]


@given(some.sampled_from(schedule.SCHEDULES), some.integers(1, 3), some.integers(1, 500))
def test_no_task_is_lost_or_run_twice(how, repeats, room):
    mine = tasks("a", "b", "c", repeats=repeats) + tasks("a", repeats=repeats, precision="bf16")
    found = schedule.fleets(mine, how=how, seed=3, room_mib=room)
    key = sorted(task.key for fleet in found for task in fleet)
    assert key == sorted(task.key for task in mine)
