"""``bench check-backend`` in real workers: what is begun, what is broken, what is misspelt."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import cache

from tests.harness import main


@cache
def half() -> tuple[int, Mapping[str, tuple[str, str]]]:
    """The exit code, and each line's status and words."""
    done = main("check-backend", "half", "--python", f"half={sys.executable}", "--json")
    assert done.stderr == ""
    lines = json.loads(done.stdout)
    return done.returncode, {line["what"]: (line["status"], line["said"]) for line in lines}


def test_names_that_are_missing_are_told_with_what_they_are_for() -> None:
    code, found = half()
    assert code == 1
    missing = {what for what, (status, _) in found.items() if status == "missing"}
    assert {"export", "check", "load", "allreduce", "peak_device_bytes"} <= missing
    assert found["load"][1] == "read an exported file back, a Program ready to infer"
    assert found["the export ladder"] == ("missing", "not climbed: it needs export, check, load")
    assert found["peak memory of the device"][1] == "not asked: it needs peak_device_bytes"


def test_a_question_that_kills_its_worker_costs_only_its_own_answer() -> None:
    _, found = half()
    assert found["adding to numbers"] == ("wrong", "crashed: ask: signal 11 (SIGSEGV)")
    assert found["names"][0] == found["devices"][0] == "ok"
    train = found["parity with the reference: train cnn fp32"]
    assert train == ("wrong", "NotImplementedError: the models come next")
    assert found["a cell that runs"][0] == "wrong"


def test_the_entry_and_the_answers_are_judged() -> None:
    _, found = half()
    assert found["entry: modes"][1].startswith("['quick']: it has to be of")
    assert found["entry: readers of its formats"] == ("wrong", "no backends: ['nobody']")
    assert found["the launcher"][1] == "it returns ['torchrun'], and the entry has no rank_env"
    assert found["matrix products"] == ("wrong", "gemm returns None for fp32")
    bf16 = found["parity with the reference: train cnn bf16"]
    assert bf16 == ("without", "it says: half has no bf16 products")


def test_an_adapter_that_cannot_be_imported_ends_the_list() -> None:
    done = main("check-backend", "broken", "--python", f"broken={sys.executable}")
    assert done.returncode == 1
    assert "libfake.so.1: cannot open shared object file" in done.stdout
    assert done.stdout.splitlines()[-1] == "broken: 3 ok, 1 wrong, 2 without"


def test_a_name_that_is_not_there_is_one_line() -> None:
    done = main("check-backend", "hlaf")
    assert done.returncode == 2
    assert done.stderr.startswith("bench: unknown backend 'hlaf': did you mean 'half'?")
    assert done.stderr.count("\n") == 1
