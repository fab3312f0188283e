"""The kit for a GPU: its plan, and what rows are judged to say."""

from __future__ import annotations

import argparse

import pytest

from bench.errors import UsageError
from bench.gpu_check import judges, options, plan
from bench.gpu_check.judges import Answer, answers, code
from bench.gpu_check.plan import CELL_S, MINUTES, PLAN
from bench.rows.schema import COLUMNS
from bench.trials import COMMANDS

MIB_HELD = 1024


def row(**values):
    """A timed row of a GPU that is as it should be."""
    found = dict.fromkeys(column.name for column in COLUMNS)
    fine = {
        "backend": "fake",
        "workload": "cnn",
        "size": "tiny",
        "precision": "bf16",
        "mode": "eager",
        "track": "tuned",
        "device": "cuda",
        "status": "ok",
        "reason": "",
        "samples_per_s": 1200.0,
        "mfu": 0.4,
        "precision_honest": True,
        "export_format": "",
        "energy_j": 900.0,
        "energy_above_idle_j": 800.0,
        "energy_source": "counter",
        "parity_logits_err": 1e-6,
        "parity_loss_err": 2e-6,
    }
    return found | fine | values


def waiting(block_ns, loss_ns):
    tried = {"block_steps": [1, 2, 4, 8], "block_ns": block_ns, "loss_ns": loss_ns}
    return row(settings={"tried": tried})


def holding(driver_mib, framework_mib, **values):
    tried = {"held_mib": MIB_HELD, "framework_mib": framework_mib}
    context = 500.0
    peak = None if driver_mib is None else context + driver_mib
    return row(context_mib=context, peak_driver_mib=peak, settings={"tried": tried}, **values)


def statuses(name, one):
    return [answer.status for answer in answers("x", name, one)]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (waiting([100, 195, 390, 780], 10), ["ok", "ok"]),
        (waiting([100, 100, 100, 100], 10), ["FAIL", "ok"]),  # all was cached, or nothing done
        (waiting([1000, 1010, 1020, 1030], 10), ["FAIL", "ok"]),  # the steps are not in it
        (waiting([1, 2, 4, 8], 790), ["ok", "FAIL"]),  # it only enqueues: who reads the loss waits
    ],
)
def test_a_wait_blocks_if_time_grows_and_nothing_is_left(one, expected):
    assert statuses("wait", one) == expected


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (holding(2100.0, 2048.0), ["ok", "ok"]),
        (holding(0.0, 2048.0), ["FAIL", "ok"]),  # the driver's figure is of something else
        (holding(2100.0, 60_000.0), ["ok", "FAIL"]),  # a pool, not what is used
        (holding(None, None), ["skip", "skip"]),
        (holding(None, None, device="cpu"), ["skip", "skip"]),
    ],
)
def test_memory_is_counted_if_it_grows_by_what_is_held(one, expected):
    assert statuses("memory", one) == expected


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (row(), ["ok", "ok"]),
        (row(precision_honest=False), ["FAIL", "ok"]),
        (row(energy_above_idle_j=-1.0), ["ok", "FAIL"]),
        (row(energy_above_idle_j=None), ["ok", "skip"]),
        (row(device="cpu"), ["ok", "skip"]),
        (row(status="oom", reason="too much"), ["FAIL"]),
        (row(status="unsupported", reason="no such type"), ["skip"]),
    ],
)
def test_what_is_measured_is_no_faster_than_its_precision_and_takes_energy(one, expected):
    assert statuses("", one) == expected


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (row(settings={"cuda_graphs": 2}), ["ok"]),
        (row(settings={"cuda_graphs": 0}), ["FAIL"]),
        (row(settings={}), ["FAIL"]),
        (row(status="unsupported", reason="no NVIDIA GPU", settings=None), ["skip"]),
        (row(status="failed", reason="a graph was skipped"), ["FAIL"]),
    ],
)
def test_cuda_graphs_are_there_if_one_was_recorded(one, expected):
    assert [answer.status for answer in answers("cuda graphs", "", one)] == expected


def test_parity_that_failed_is_a_failure_with_its_reason():
    (answer,) = answers("parity", "parity", row(status="parity_failed", reason="logits off by 1"))
    assert answer.line() == (
        "FAIL  parity: fake cnn tiny bf16 eager tuned  parity_failed: logits off by 1"
        "  (expected: ok)"
    )
    assert statuses("parity", row()) == ["ok"]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], None),
        (["skip", "skip"], None),
        (["ok", "skip"], 0),
        (["ok", "FAIL", "skip"], 1),
    ],
)
def test_one_failure_is_enough_and_skipping_all_is_no_success(found, expected):
    assert code([Answer(status, "x", "", "") for status in found]) == expected


def test_what_failed_is_named_at_the_end():
    found = [Answer("ok", "a", "", ""), Answer("FAIL", "b", "", ""), Answer("skip", "c", "", "")]
    assert judges.summary(found) == "1 ok, 1 FAIL, 1 skip: b"


def test_no_part_takes_more_than_nine_minutes_nor_all_more_than_25():
    assert set(options.PARTS) == set(MINUTES) == {check.part for check in PLAN}
    assert max(MINUTES.values()) + CELL_S / 60 <= 9
    assert sum(MINUTES.values()) <= 25
    assert {check.trial for check in PLAN} - {""} <= set(COMMANDS)


@pytest.mark.parametrize(("text", "parts"), [("all", (1, 2, 3, 4)), ("2", (2,)), ("3, 1", (3, 1))])
def test_parts_are_chosen_by_number(text, parts):
    assert options.parts(text) == parts


def test_a_part_that_there_is_not_is_said():
    with pytest.raises(Exception, match="'5' is no part: 1 to 4, or all"):
        options.parts("1,5")


def asked(*arguments):
    parser = argparse.ArgumentParser()
    options.add(parser.add_subparsers())
    return parser.parse_args(["gpu-check", *arguments])


def test_memory_is_seen_to_grow_without_a_pool():
    """JAX has one on a GPU, PyTorch has none; only the memory check turns it off."""
    found = plan.planned(asked("--backend", "jax,torch", "--size", "tiny"), [1])
    off = {
        (one.check.trial, task.cell.backend)
        for one in found
        for task in one.tasks
        if "preallocation" in task.cell.settings
    }
    assert off == {("memory", "jax")}
    assert [len(one.tasks) for one in found] == [2, 2, 2, 1]


def test_only_backends_that_know_a_setting_are_asked_for_it():
    found = {one.check.name: one for one in plan.planned(asked("--backend", "jax,torch"), [1])}
    (task,) = found["cuda graphs"].tasks
    assert (task.cell.backend, task.cell.settings) == ("torch", {"cuda_graphs": "on"})
    found = {one.check.name: one for one in plan.planned(asked("--backend", "jax"), [1])}
    assert found["cuda graphs"].refused == "no backend of jax has cuda_graphs=on"


def test_a_size_that_is_not_there_has_no_cells_and_says_so(monkeypatch):
    def absent(*_, **__):
        raise UsageError("size 'large' is not there yet")

    monkeypatch.setattr(plan.grid, "plan", absent)
    found = plan.planned(asked("--backend", "torch"), [3])
    assert [(one.check.name, one.tasks, one.refused) for one in found] == [
        ("speed", (), "size 'large' is not there yet"),
        ("large", (), "size 'large' is not there yet"),
    ]


def test_large_is_left_out_where_smaller_sizes_are_asked_for():
    refused = {one.check.name: one.refused for one in plan.planned(asked("--size", "tiny"), [3])}
    assert refused["large"] == "only with --size base or large"
