"""The gate, on a program that answers from a script: each bound is broken alone."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bench import parity
from bench.contract import BenchError, Cell, Optimizer, Program, TooSlow, Unsupported
from bench.dims import CnnDims

DIMS = CnnDims(image=8, channels=1, classes=2, stem="3x3", widths=(4,), blocks=(1,))
# The largest logit is 2, and so is every loss: a relative error of 1e-5 is 2e-5 here.
LOGITS = [[1.0, -2.0], [0.5, 0.25]]
AFTER = [[2.0, -1.0], [0.0, 0.5]]
LOSSES = [2.0, 2.0, 2.0, 2.0, 2.0]
RAW = {"param_count": 7, "batch": 2, "logits": LOGITS, "losses": LOSSES, "logits_after": AFTER}
RAW["export"] = {"logits": LOGITS, "accuracy": 0.9, "accuracy_samples": 128}


def cell(precision="fp32", **changes):
    given = {"workload": "cnn", "mode": "eager", "track": "out-of-box", "batch": 2, **changes}
    return Cell(
        backend="fake",
        model="cnn",
        size="tiny",
        device="cpu",
        precision=precision,
        dims=DIMS,
        optimizer=Optimizer("sgd", lr=0.1),
        **given,
    )


class Scripted(Program):
    """Answers ``logits`` before its first step and ``after`` from then on."""

    def __init__(self, *, n_params=7, logits=LOGITS, losses=LOSSES, after=AFTER):
        self.n_params = n_params
        self.before, self.after = np.array(logits), np.array(after)
        self.losses = losses
        self.steps = 0
        self.calls = []

    def train_step(self):
        self.calls.append("train_step")
        self.steps += 1

    def loss(self):
        return self.losses[self.steps - 1]

    def infer(self, index):
        self.calls.append(f"infer {index}")

    def logits(self):
        return self.after if self.steps else self.before

    def wait(self):
        self.calls.append("wait")


def trace(trains=True, **changes):
    part = RAW | changes
    return parity.Trace(
        param_count=part["param_count"],
        batch=2,
        logits=np.array(part["logits"]),
        losses=part["losses"] if trains else [],
        logits_after=np.array(part["logits_after"]) if trains else None,
    )


def check(given, **changes):
    return parity.check(given, trace(), cell(**changes))


def moved(values, by):
    """The same with its first number changed."""
    values = np.array(values)
    values.flat[0] += by
    return values


def losses(step, by):
    return [loss + by if at == step else loss for at, loss in enumerate(LOSSES)]


def test_the_reference_itself_passes():
    verdict = check(Scripted())
    assert verdict.failures == []
    assert (verdict.logits_err, verdict.loss_err) == (0.0, 0.0)
    assert verdict.losses == LOSSES


def test_five_steps_are_taken_between_two_looks_at_the_gate_batch():
    program = Scripted()
    check(program)
    assert [call for call in program.calls if call != "wait"] == [
        "infer 0",
        *["train_step"] * 5,
        "infer 0",
    ]


@pytest.mark.parametrize(
    ("wrong", "failure"),
    [
        ({"n_params": 8}, "8 parameters instead of 7"),
        ({"logits": moved(LOGITS, 4e-5)}, "logits off by 2e-05 (bound 1e-05)"),
        ({"losses": losses(0, 4e-5)}, "the loss of step 1 off by 2e-05 (bound 1e-05)"),
        ({"losses": losses(1, 4e-4)}, "a loss of steps 2 to 5 off by 0.0002 (bound 1e-04)"),
        ({"losses": losses(4, -4e-4)}, "a loss of steps 2 to 5 off by 0.0002 (bound 1e-04)"),
        ({"after": moved(AFTER, 8e-2)}, "logits after 5 steps off by 0.04 (bound 2e-02)"),
        ({"logits": moved(LOGITS, np.nan)}, "logits off by inf (bound 1e-05)"),
        ({"logits": moved(LOGITS, -np.inf)}, "logits off by inf (bound 1e-05)"),
        ({"logits": LOGITS[:1]}, "logits off by inf (bound 1e-05)"),
        ({"logits": np.ravel(LOGITS)}, "logits off by inf (bound 1e-05)"),
        ({"losses": losses(0, np.nan)}, "the loss of step 1 off by inf (bound 1e-05)"),
        ({"losses": losses(3, np.inf)}, "a loss of steps 2 to 5 off by inf (bound 1e-04)"),
        ({"after": moved(AFTER, np.nan)}, "logits after 5 steps off by inf (bound 2e-02)"),
    ],
)
def test_one_error_breaks_one_bound(wrong, failure):
    assert check(Scripted(**wrong)).failures == [failure]


@pytest.mark.parametrize(
    ("wrong", "bound"),
    [
        (lambda by: {"logits": moved(LOGITS, by)}, 2e-5),
        (lambda by: {"losses": losses(0, -by)}, 2e-5),
        (lambda by: {"losses": losses(1, by)}, 2e-4),
        (lambda by: {"losses": losses(4, by)}, 2e-4),
        (lambda by: {"after": moved(AFTER, -by)}, 4e-2),
    ],
)
def test_a_bound_lies_where_it_is_said_to(wrong, bound):
    assert check(Scripted(**wrong(0.99 * bound))).failures == []
    assert len(check(Scripted(**wrong(1.01 * bound))).failures) == 1


def test_several_errors_are_all_named():
    program = Scripted(n_params=0, logits=moved(LOGITS, 1.0), losses=losses(0, 1.0))
    verdict = check(program)
    assert len(verdict.failures) == 3
    assert (verdict.logits_err, verdict.loss_err) == (0.5, 0.5)  # 1 of 2, both


@pytest.mark.parametrize(
    ("precision", "within", "beyond"),
    [
        # Relative to 2, at 0.9 and 1.1 times the bounds 1e-2, 1e-2, 5e-2.
        ("tf32", 0.018, 0.022),
        ("fp16", 0.018, 0.022),
        ("bf16", 0.19, 0.21),
    ],
)
def test_lower_precisions_have_wider_bounds(precision, within, beyond):
    assert check(Scripted(logits=moved(LOGITS, within)), precision=precision).failures == []
    [failure] = check(Scripted(logits=moved(LOGITS, beyond)), precision=precision).failures
    assert failure.startswith("logits off by")


def test_the_first_step_is_timed_from_idle_to_idle(monkeypatch):
    program = Scripted()
    readings = iter([100, 350, 360, 390])  # the first step, and the second, which has no compile

    def read():
        program.calls.append("clock")
        return next(readings)

    monkeypatch.setattr(parity, "time", SimpleNamespace(perf_counter_ns=read))
    assert check(program).first_step_ns == 250
    assert program.calls[1:6] == ["wait", "clock", "train_step", "wait", "clock"]


def test_an_exported_model_is_judged_without_training():
    program = Scripted(n_params=7)
    verdict = parity.check(program, trace(trains=False), cell(workload="export", format="onnx"))
    assert program.calls == ["infer 0"]
    assert verdict == parity.Verdict(0.0, None, [], None, [])


def test_int8_is_judged_by_its_logits():
    # The bound is 0.5: 1.0 on a scale of 2.
    export = cell("int8", workload="export", format="onnx")
    for by, count in ((0.99, 0), (1.01, 1)):
        program = Scripted(logits=moved(LOGITS, by))
        assert len(parity.check(program, trace(trains=False), export).failures) == count


def test_errors_are_relative_to_the_largest_reference_value():
    reference = np.array([[4.0, -8.0]])
    assert parity.relative_error(np.array([[4.0, -7.0]], np.float32), reference) == 0.125
    assert parity.relative_error(np.zeros((1, 2)), np.zeros((1, 2))) == 0.0
    assert parity.relative_error(np.ones((1, 2)), np.zeros((1, 2))) > 1e20


def test_a_trace_is_read_for_training_and_for_export(tmp_path):
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(RAW))
    trained = parity.read_trace(path, trains=True)
    assert (trained.param_count, trained.batch, trained.losses) == (7, 2, LOSSES)
    assert trained.logits.tolist() == LOGITS
    assert trained.logits_after is not None
    assert trained.logits_after.tolist() == AFTER
    served = parity.read_trace(path, trains=False)
    assert (served.batch, served.accuracy, served.accuracy_samples) == (2, 0.9, 128)
    assert (served.losses, served.logits_after) == ([], None)


def without(key):
    return {name: value for name, value in RAW.items() if name != key}


EITHER = {
    "empty": "",
    "cut short": json.dumps(RAW)[:-9],
    "a list": "[]",
    "a number": "1",
    "no param_count": without("param_count"),
    "a param_count that is no number": RAW | {"param_count": "seven"},
    "an endless param_count": RAW | {"param_count": float("inf")},
    "ragged logits": RAW | {"logits": [[1.0], [1.0, 2.0]], "export": {"logits": [[1.0], []]}},
    "logits that are words": RAW | {"logits": [["a"]], "export": {"logits": [["a"]]}},
    "logits too large": RAW | {"logits": [[10**400]], "export": {"logits": [[10**400]]}},
    "a flat list of logits": RAW | {"logits": [1.0], "export": {"logits": [1.0]}},
    "nested without end": "[" * 100_000,
}
TRAINING = {
    "no losses": without("losses"),
    "four losses": RAW | {"losses": LOSSES[:4]},
    "losses that are words": RAW | {"losses": ["low"] * 5},
    "no logits after the steps": without("logits_after"),
    "no batch": without("batch"),
}
EXPORT = {
    "no export": without("export"),
    "an export that is a text": RAW | {"export": "onnx"},
    "an export without logits": RAW | {"export": {}},
    "an export with no rows": RAW | {"export": {"logits": []}},
}


@pytest.mark.parametrize(
    ("trains", "broken"),
    [
        pytest.param(trains, broken, id=f"{'training' if trains else 'export'}: {what}")
        for trains, cases in ((True, EITHER | TRAINING), (False, EITHER | EXPORT))
        for what, broken in cases.items()
    ],
)
def test_a_broken_trace_is_refused_in_one_line(tmp_path, trains, broken):
    path = tmp_path / "trace.json"
    path.write_text(broken if isinstance(broken, str) else json.dumps(broken))
    with pytest.raises(BenchError, match="not a readable trace") as caught:
        parity.read_trace(path, trains=trains)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_trace_that_is_not_there_or_not_text_is_refused(tmp_path):
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing.json", tmp_path, binary):
        with pytest.raises(BenchError, match="not a readable trace"):
            parity.read_trace(path, trains=True)


def test_a_cell_that_cannot_be_done_in_time_is_given_up_after_two_steps():
    program = Scripted()
    with pytest.raises(TooSlow, match=r"the 13 that are left at least would take .* s"):
        parity.check(program, trace(), cell(), patience=parity.Patience(seconds=0.0, steps=10))
    assert program.steps == 2
    patience = parity.Patience(seconds=3600.0, steps=10)
    assert parity.check(Scripted(), trace(), cell(), patience=patience).failures == []


def test_patience_counts_the_steps_of_the_gate_and_those_after_it():
    patience = parity.Patience(seconds=20.0, steps=17)
    patience.look(1.0, left=3)  # 20 steps of a second in 20 seconds
    with pytest.raises(TooSlow, match=r"a step takes 1.1 s: the 20 that are left"):
        patience.look(1.1, left=3)


def test_devices_with_statistics_of_their_own_have_losses_of_their_own():
    halves = [2.5, 2.4, 2.3, 2.2, 2.1]
    program = Scripted(losses=halves, after=[[9.0, 9.0], [9.0, 9.0]])
    program.replicas = 2
    known = replace(trace(), replicated={2: halves})
    assert parity.check(program, known, cell()).failures == []
    whole = parity.check(Scripted(losses=halves), known, cell())
    assert whole.failures[0].startswith("the loss of step 1 off by 0.25")
    program.steps, program.replicas = 0, 4
    with pytest.raises(Unsupported, match="4 parts of a batch: the reference knows 2 parts"):
        parity.check(program, known, cell())


def test_of_a_decoders_logits_some_positions_and_words_are_compared():
    logits = np.arange(2 * 10 * 63).reshape(2, 10, 63)
    taken = parity.sampled(logits)
    assert taken.shape == (2, 4, 32)
    # Positions 0, 3, 6, 9 of ten; of 63 words every second one.
    assert taken[1, 1].tolist() == logits[1, 3, ::2].tolist()
    assert taken[0, -1, -1] == logits[0, 9, 62]
    assert parity.sampled(logits[:, :2, :5]).shape == (2, 2, 5), "as many as there are"
    assert np.array_equal(parity.sampled(logits[0]), logits[0])
