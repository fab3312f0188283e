"""The export ladder, climbed with a scripted adapter: every rung is made to fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.contract import Batches, Cell, Optimizer, Program, Unsupported
from bench.dims import CnnDims
from bench.rows import columns
from bench.worker import ladder

CELL = Cell(
    backend="fake",
    workload="export",
    model="cnn",
    size="tiny",
    device="cpu",
    precision="fp32",
    mode="eager",
    track="out-of-box",
    batch=1,
    format="onnx",
    dims=CnnDims(image=8, channels=1, classes=2, stem="3x3", widths=(4,), blocks=(1,)),
    optimizer=Optimizer("sgd", lr=0.1),
)
FILE = Path("exported")
# The gate's batch of 3, the timed batch of 1, and two of 4 for the accuracy.
SIZES = (3, 1, 4, 4)
# The largest logit is 4: fp32's bound of 1e-5 is 4e-5 here.
GATE = np.array([[1.0, -4.0], [2.0, 0.5], [0.0, 1.0]])
TIMED = np.array([[4.0, 2.0]])
LOGITS = {0: GATE, 1: TIMED}


def batches(sizes=SIZES):
    return Batches(train=[], infer=[{"label": np.zeros(size, np.int64)} for size in sizes])


class Scripted(Program):
    """Answers each batch with its logits, or raises what the script says."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def infer(self, index):
        self.asked.append(index)
        if isinstance(self.answers.get(index), Exception):
            raise self.answers[index]

    def logits(self):
        return self.answers.get(self.asked[-1], np.zeros((4, 2)))


class Consumer:
    """An adapter that checks and loads; ``checked`` and ``loaded`` may be errors."""

    def __init__(self, *, checked=None, loaded=None, **answers):
        self.failures = {"check": checked, "load": loaded}
        self.program = Scripted(LOGITS | {int(key[1:]): value for key, value in answers.items()})
        self.calls = []

    def check(self, *given):
        self._called("check", given)

    def load(self, *given):
        self._called("load", given)
        return self.program

    def _called(self, name, given):
        self.calls.append((name, *given))
        if self.failures[name]:
            raise self.failures[name]


def climb(consumer, *, theirs=LOGITS, sizes=SIZES):
    return ladder.climb(consumer, CELL, FILE, batches(sizes), theirs)


def test_a_good_file_climbs_to_the_top():
    consumer = Consumer()
    found = climb(consumer)
    assert (found.rung, found.error, found.max_abs_err) == ("dynamic_batch", None, 0.0)
    assert found.program is consumer.program
    assert consumer.program.asked == [ladder.TIMED, ladder.GATE]
    [(check, *checked), (load, cell, path, loaded)] = consumer.calls
    assert (check, checked) == ("check", [CELL, FILE])
    assert (load, cell, path) == ("load", CELL, FILE)
    assert len(loaded.infer) == len(SIZES)


@pytest.mark.parametrize(
    ("script", "rung", "error"),
    [
        (
            {"checked": ValueError("no graph\nat byte 7")},
            "exported",
            "checked: ValueError: no graph",
        ),
        ({"checked": Unsupported("no reader")}, "exported", "checked: Unsupported: no reader"),
        ({"loaded": RuntimeError("no Gelu-20")}, "checked", "loaded: RuntimeError: no Gelu-20"),
        ({"_1": RuntimeError("bad input")}, "loaded", "numerics: RuntimeError: bad input"),
        (
            # 4e-4 of 4 is ten times the bound.
            {"_1": TIMED + 4e-4},
            "loaded",
            "numerics: ArithmeticError: logits off by 0.0001 (bound 1e-05)",
        ),
        (
            {"_1": TIMED * np.nan},
            "loaded",
            "numerics: ArithmeticError: logits off by inf (bound 1e-05)",
        ),
        (
            {"_1": np.vstack([TIMED, TIMED])},
            "loaded",
            "numerics: ArithmeticError: logits off by inf (bound 1e-05)",
        ),
        (
            {"_0": RuntimeError("batch is 1")},
            "numerics",
            "dynamic_batch: RuntimeError: batch is 1",
        ),
        (
            {"_0": GATE - 4e-4},
            "numerics",
            "dynamic_batch: ArithmeticError: logits off by 0.0001 (bound 1e-05)",
        ),
    ],
)
def test_each_rung_names_what_failed_there(script, rung, error):
    found = climb(Consumer(**script))
    assert (found.rung, found.error) == (rung, error)


@pytest.mark.parametrize(("by", "rung"), [(3.9e-5, "dynamic_batch"), (4.1e-5, "loaded")])
def test_the_bound_is_the_gates(by, rung):
    assert climb(Consumer(_1=TIMED + np.array([[by, 0.0]]))).rung == rung


def test_nothing_is_tried_after_a_failure():
    refused = Consumer(checked=ValueError("bad"))
    assert climb(refused).program is None
    assert [name for name, *_ in refused.calls] == ["check"]
    wrong = Consumer(_1=TIMED + 1)
    climb(wrong)
    assert wrong.program.asked == [ladder.TIMED]


def test_a_static_batch_stops_at_numerics_and_keeps_its_program():
    consumer = Consumer(_0=RuntimeError("expected 1, got 3"))
    found = climb(consumer)
    assert (found.rung, found.max_abs_err) == ("numerics", 0.0)
    assert found.program is consumer.program


def test_the_largest_difference_of_both_batches_is_kept():
    # 2^-16 = 1.5e-5 and 2^-17, exact in binary; the larger one is met first, then the smaller.
    found = climb(Consumer(_1=TIMED + 2.0**-16, _0=GATE - 2.0**-17))
    assert (found.rung, found.max_abs_err) == ("dynamic_batch", 2.0**-16)
    found = climb(Consumer(_1=TIMED + 2.0**-17, _0=GATE - 2.0**-16))
    assert found.max_abs_err == 2.0**-16


def test_a_difference_out_of_bounds_is_still_a_figure():
    assert climb(Consumer(_1=TIMED + 0.5)).max_abs_err == 0.5


@pytest.mark.parametrize("answer", [TIMED * np.nan, TIMED + np.inf, np.vstack([TIMED, TIMED])])
def test_without_a_difference_the_figure_stays_empty(answer):
    assert climb(Consumer(_1=answer)).max_abs_err is None


def test_numerics_need_something_to_compare_with():
    found = climb(Consumer(), theirs={0: GATE})
    assert found.rung == "loaded"
    assert found.error == "numerics: LookupError: the exporter left no logits to compare with"


def test_the_other_batch_is_one_of_another_size():
    # The cell's batch is the gate's: the next of another size is only run, for the exporter wrote
    # no logits of it.
    consumer = Consumer(_0=TIMED)
    assert climb(consumer, sizes=(1, 1, 4, 4)).rung == "dynamic_batch"
    assert consumer.program.asked == [1, 2]
    consumer = Consumer(_2=RuntimeError("batch is 1"))
    assert climb(consumer, sizes=(1, 1, 4, 4)).rung == "numerics"


def test_the_rungs_are_the_columns():
    reached = [
        climb(Consumer(**script)).rung
        for script in (
            {"checked": ValueError()},
            {"loaded": ValueError()},
            {"_1": ValueError()},
            {"_0": ValueError()},
            {},
        )
    ]
    # Before them: nothing was exported; after them: it was timed.
    assert ("none", *reached, "latency") == columns.RUNGS


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "ValueError: one"),
        (ValueError("\n\n  one\r\ntwo"), "ValueError: one"),
        (ValueError(), "ValueError"),
        (KeyError("name"), "KeyError: 'name'"),
        (RuntimeError("x" * 300), "RuntimeError: " + "x" * 283 + "..."),  # 14 + 283 + 3 = 300
    ],
)
def test_an_error_is_one_line(error, line):
    assert ladder.first_line(error) == line


@given(st.text())
def test_any_error_is_one_line(text):
    line = ladder.first_line(RuntimeError(text))
    assert line.startswith("RuntimeError")
    assert len(line.splitlines()) == 1
    assert len(line) <= 300
