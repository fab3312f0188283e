"""``bench check-backend``: what is asked, and how answers are judged."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from backends.entry import Entry
from backends.registry import BACKENDS
from bench.check_backend import judges, plan, registered
from bench.check_backend.judges import MISSING, OK, WITHOUT, WRONG, Context, Finding
from bench.contract import Unsupported
from bench.envs import locks
from bench.worker import exam
from bench.worker.exam import Exam

CELL = plan.cell_of("torch", BACKENDS["torch"], "cpu", "cnn")
TYPES = {"parameters": "float32", "compute": "float32", "reduce": "float32"}
SETTINGS = {"asked": 1, "before": {"threads": 1}, "after": {"threads": 1, "dtypes": TYPES}}
GATED = {"param_count": 7, "parity_logits_err": 2e-6, "parity_loss_err": 1e-7, "dtype": "float32"}
LOSSES = {
    "first": [2.0, 2.1, 2.2, 1.9, 1.8, 1.7],
    "again": [2.0, 2.1, 2.2, 1.9, 1.8, 1.7],
    "still": [2.0, 2.1, 2.2, 2.0, 2.1, 2.2],
    "at_end": 1.7,
}
WHOLE: dict[str, Any] = {
    "names": {"missing": [], "name": "torch", "version": "2.0"},
    "devices": {"devices": ["cpu"], "lacks": "cuda", "words": "no driver"},
    "refusals": {"int8 training": "no int8", "an unknown precision": "never heard of it"},
    "launch": {"argv": [], "starts": False},
    "settings": SETTINGS,
    "kernels": ["fp32", "bf16"],
    "stream": [2.0, 2.0, 2.0],
    "memory": {"bytes": None},
    "capabilities": [],
    "parity": GATED,
    "repeats": LOSSES,
    "wait": {"few": 2_000_000, "many": 16_000_000, "left": 10_000},
    "closed": {"alive": [], "facts": {}},
    "torn": {"facts": {"file": "model.onnx"}, "whole": "", "cut": "ValueError: it ends early"},
}


def judged(what: str, **changes: Any) -> Finding:
    found = {**WHOLE[what], **changes} if changes else WHOLE[what]
    return judges.judge(what, {"found": found}, Context(CELL))


def test_what_is_asked_has_a_judge_a_label_and_its_needs() -> None:
    assert set(exam.QUESTIONS) == set(judges.JUDGES) == set(judges.NEEDS) == set(WHOLE)
    assert set(judges.SAID) == set(exam.QUESTIONS) - set(plan.FORMER)
    assert set(judges.PROMISES) == {*exam.NAMES, "NAME", "DIST"}
    needed = {name for names in judges.NEEDS.values() for name in names}
    assert needed | {"load"} <= set(judges.PROMISES)


@pytest.mark.parametrize("what", WHOLE)
def test_an_adapter_that_keeps_the_contract(what: str) -> None:
    assert judged(what).status == OK


@pytest.mark.parametrize(
    ("what", "changes", "said"),
    [
        ("names", {"name": "pytorch"}, "NAME is 'pytorch', not 'torch'"),
        ("devices", {"devices": ["cuda"], "lacks": "cpu"}, "cpu is not among cuda: no driver"),
        ("devices", {"words": ""}, "absent('cuda') says nothing"),
        ("refusals", {"int8 training": None}, "int8 training is not refused"),
        ("launch", {"argv": ["torchrun"]}, "the entry has no rank_env"),
        ("settings", {"after": {"threads": 2, "dtypes": TYPES}}, "2 after the first step, not 1"),
        ("settings", {"after": {"threads": 1}}, "are not told"),
        ("memory", {"bytes": -1}, "peak_device_bytes is -1"),
        ("parity", {"dtype": "float64"}, "logits are float64"),
        ("repeats", {"again": [2.0, 2.1, 2.2, 1.9, 1.8, 1.6]}, "two results"),
        ("repeats", {"at_end": 2.0}, "not all done"),
        ("repeats", {"still": [2.0, 2.1, 2.2, 2.0, 2.1, 2.3]}, "the losses change"),
        ("repeats", {"still": [2.0, 2.0, 2.0, 2.0, 2.0, 2.0]}, "all batches have one loss"),
        ("wait", {"many": 2_500_000}, "2 steps take 2 ms and 16 2.5 ms"),
        ("wait", {"left": 15_000_000}, "reading a result takes 94% of 16 steps"),
        ("closed", {"alive": ["model"]}, "close keeps model alive"),
        ("closed", {"facts": {"layout": "nchw"}}, "a closed program still has facts"),
        ("torn", {"cut": ""}, "check passes a file that was cut short"),
        ("torn", {"whole": "ValueError: no"}, "check refuses the whole file: ValueError: no"),
        ("torn", {"facts": {}}, "does not say which file"),
    ],
)
def test_an_adapter_that_breaks_it(what: str, changes: dict[str, Any], said: str) -> None:
    finding = judged(what, **changes)
    assert finding.status == WRONG
    assert said in finding.said


@pytest.mark.parametrize(
    ("what", "found", "said"),
    [
        ("stream", [2.0, 3.0, 2.0], "is [2.0, 3.0, 2.0]"),
        ("kernels", ["bf16"], "None for fp32"),
        ("kernels", ["fp32", "nonsense"], "a precision that there is not"),
        ("kernels", ["fp32", "tf32"], "which no CPU has"),
        ("capabilities", ["give"], "give is missing"),
    ],
)
def test_lists_that_are_wrong(what: str, found: Any, said: str) -> None:
    finding = judges.judge(what, {"found": found}, Context(CELL))
    assert finding.status == WRONG
    assert said in finding.said


def test_a_launcher_that_is_promised_has_to_start() -> None:
    def launched(argv: list[str], *, starts: bool) -> Finding:
        reply = {"found": {"argv": argv, "starts": starts}}
        return judges.judge("launch", reply, Context(CELL, launches=True))

    assert launched(["/bin/run", "-n"], starts=True) == (OK, "the launcher", "/bin/run -n")
    assert launched(["run"], starts=False).status == WRONG
    assert launched([], starts=False).status == WRONG


def test_a_reason_in_words_is_an_answer_and_an_error_is_none() -> None:
    reason = {"unsupported": "bfloat16 convolution has no CPU kernel"}
    assert judges.judge("parity", reason, Context(CELL)).status == WITHOUT
    assert judges.judge("parity", {"unsupported": "no"}, Context(CELL)).status == WRONG
    error = {"error": "ParityError: logits off by 3"}
    assert judges.judge("parity", error, Context(CELL))[::2] == (WRONG, error["error"])


def test_a_ladder_is_climbed_to_its_end() -> None:
    cell = next(plan.ladders("torch", BACKENDS["torch"], "cpu"))
    whole = {"status": "ok", "rung": "dynamic_batch", "reason": None, "max_abs_err": 1e-6}
    assert judges.ladder(cell, whole).status == OK
    static = whole | {"rung": "numerics", "reason": "dynamic_batch: it is fixed"}
    assert judges.ladder(cell, static).said == "ok at rung numerics: dynamic_batch: it is fixed"
    assert judges.ladder(cell, static).status == WRONG
    refused = whole | {"status": "unsupported", "reason": "no exporter"}
    assert judges.ladder(cell, refused).status == WITHOUT
    broken = whole | {"status": "env_failed", "rung": "none", "reason": "no lock"}
    assert judges.ladder(cell, broken) == (
        WRONG,
        "the export ladder: onnx cnn",
        "env_failed at rung none: no lock",
    )


def test_the_exit_code_and_the_last_line() -> None:
    fine, lacks = Finding(OK, "a", ""), Finding(WITHOUT, "b", "")
    assert judges.code([fine, lacks]) == 0
    assert judges.code([fine, Finding(MISSING, "c", "")]) == 1
    assert judges.code([fine, Finding(WRONG, "c", "")]) == 1
    assert judges.summary([fine, lacks, fine]) == "2 ok, 1 without"
    assert judges.lacking(["load"])[0].said.startswith("read an exported file back")


def test_every_model_is_exercised_and_float32_in_full() -> None:
    found = list(plan.exercises("torch", BACKENDS["torch"], "cpu"))
    assert found[0].questions == plan.OF_ADAPTER
    asked = {(one.label, *one.questions) for one in found[1:]}
    for model in ("cnn", "transformer"):
        assert (f"train {model} fp32", *plan.OF_TRAINING) in asked
        assert (f"train {model} bf16", "parity") in asked
        # ONNX files are read by another backend, which refuses the torn ones itself.
        assert (f"export onnx {model} fp32", *plan.OF_INFERENCE) in asked
        assert (f"export native {model} fp32", *plan.OF_INFERENCE, "torn") in asked


def test_what_its_variables_tune_is_in_force() -> None:
    tuned = plan.cell_of("mindspore", BACKENDS["mindspore"], "cpu", "cnn")
    assert BACKENDS["mindspore"].tuned_env
    assert (tuned.track, CELL.track) == ("tuned", "out-of-box")


def test_who_only_infers_has_one_question_of_training_that_it_has_to_refuse() -> None:
    found = list(plan.exercises("onnxruntime", BACKENDS["onnxruntime"], "cpu"))
    assert [one.label for one in found if one.cell.trains] == ["train cnn fp32"]
    assert {one.cell.precision for one in found} >= {"fp32", "int8"}


def test_an_entry_without_module_or_lock_is_told_how_to_mend_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LOCKS", tmp_path)
    (tmp_path / "torch-cuda.txt").write_text("torch==2\n")
    strange = Entry(
        "no_such_package.adapter",
        python="3.11",
        locks=("cpu", "cuda"),
        modes=("quick",),
        imports=(),
        formats={"onnx": "nobody"},
    )
    found = {one.what: one for one in registered.entry("torch", strange)}
    assert found["entry: no_such_package.adapter"].status == MISSING
    assert found["entry: modes"].said.startswith("['quick']: it has to be of eager")
    assert found["entry: readers of its formats"] == (
        WRONG,
        "entry: readers of its formats",
        "no backends: ['nobody']",
    )
    assert found["entry: lock for cpu"].status == MISSING
    assert f"write {tmp_path / 'torch-cpu.in'} and compile it" in found["entry: lock for cpu"].said
    assert found["entry: lock for cuda"].status == WRONG


def test_the_entries_of_this_project_are_whole() -> None:
    found = [one for name in BACKENDS for one in registered.entry(name, BACKENDS[name])]
    assert [one for one in found if one.status in (MISSING, WRONG)] == []


def ask(question: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    job: Any = SimpleNamespace(cell=CELL)
    monkeypatch.setattr(exam, "QUESTIONS", {"it": question})
    reply = Exam(job).ask(what="it")
    json.dumps(reply)
    return reply


def test_whatever_an_answer_is_the_worker_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(error: Exception) -> Any:
        def question(_: Exam) -> None:
            raise error

        return question

    assert ask(lambda _: [1, 2], monkeypatch) == {"found": [1, 2]}
    assert ask(raises(Unsupported("it has no such thing")), monkeypatch) == {
        "unsupported": "it has no such thing"
    }
    assert ask(raises(ValueError("odd")), monkeypatch) == {"error": "ValueError: odd"}
    assert "not JSON serializable" in ask(lambda _: {"odd": {1}}, monkeypatch)["error"]


def test_numbers_come_to_the_host_whatever_their_array_is_called() -> None:
    ones = np.ones(2, np.float32)
    named = SimpleNamespace(asnumpy=lambda: ones)
    bound = SimpleNamespace(copy_outputs_to_cpu=lambda: [ones])
    for array in (ones, named, bound, [1.0, 1.0]):
        assert list(np.ravel(exam.host(array))) == [1.0, 1.0]
