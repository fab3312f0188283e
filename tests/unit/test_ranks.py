"""What several processes of a cell have found, in one row."""

from __future__ import annotations

from bench.worker import ranks

FACTS = [
    {"step_ms": 2.0, "peak_host_mib": 10.0, "peak_device_mib": 7.0},
    {"step_ms": 3.0, "peak_host_mib": 20.0, "peak_device_mib": None},
    {"step_ms": 2.5, "peak_host_mib": 30.0, "peak_device_mib": 9.0},
]


def meet(facts):
    """Each rank's columns, after a meeting in which nobody knows more than its own line."""
    brought = []

    def bring(values):
        brought.append(values)
        return [0.0] * len(values)

    for rank, own in enumerate(facts):
        ranks.columns(own, rank=rank, world_size=len(facts), slowest=bring)
    largest = [max(column) for column in zip(*brought, strict=True)]
    return [
        ranks.columns(own, rank=rank, world_size=len(facts), slowest=lambda _: largest)
        for rank, own in enumerate(facts)
    ]


def test_all_know_what_each_has_found_and_who_is_the_slowest():
    first, *others = meet(FACTS)
    assert first == {
        "ranks": [
            {"rank": 0, "step_ms": 2.0, "peak_host_mib": 10.0, "peak_device_mib": 7.0},
            {"rank": 1, "step_ms": 3.0, "peak_host_mib": 20.0},
            {"rank": 2, "step_ms": 2.5, "peak_host_mib": 30.0, "peak_device_mib": 9.0},
        ],
        "slowest_rank": 1,
        "peak_device_mib": 9.0,
    }
    assert others == [first, first]


def test_what_no_rank_knows_stays_empty():
    blind = [{**one, "peak_device_mib": None} for one in FACTS]
    assert meet(blind)[0]["peak_device_mib"] is None
