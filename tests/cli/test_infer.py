"""``bench run --workload infer`` in real workers, on a service that sleeps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness import main

FAST = ("--load-seconds", "0.3", "--device", "cpu", "--threads", "1")


def infer(
    kind: str, *arguments: str, folder: Path
) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """The finished process, and its rows."""
    file, out = folder / "model.onnx", folder / "rows.jsonl"
    file.write_text(kind)
    asked = ["--workload", "infer", "--onnx", str(file), "--out", str(out), "--backend", "fake"]
    done = main("run", *asked, "--python", f"fake={sys.executable}", *FAST, *arguments)
    lines = out.read_text().splitlines() if out.exists() else []
    return done, [json.loads(line) for line in lines]


def test_full_load_a_rate_and_the_limit(tmp_path: Path) -> None:
    done, rows = infer("2", "--rate", "100", "--slo-ms", "20000", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    full, rate, *search, limit = rows
    # It sleeps for 2 ms a request: 500 requests a second is the most that there can be.
    assert full["load"] == "full"
    assert 0 < full["served_per_s"] <= 500
    assert full["latency_ms"]["p50"] >= 2
    assert (rate["load"], rate["rate"], rate["requests"]) == ("rate", 100.0, 120)
    assert rate["latency_ms"]["p50"] >= 2
    assert rate["settings"] == {"requests": 8}
    # 100 a second has held; so does full load, and once more with other arrivals.
    assert [row["holds"] for row in search] == [True] * 2
    assert limit["held_per_s"] == pytest.approx(full["served_per_s"])
    assert {row["sha256"] for row in rows} == {rows[0]["sha256"]}
    assert "p99 within 20000 ms: holds" in done.stdout


def test_a_rate_beyond_full_load_shows_the_queue(tmp_path: Path) -> None:
    _, rows = infer("5", "--rate", "1000", folder=tmp_path)
    beyond = rows[1]
    # 300 requests in about 0.3 s, of which 5 ms each leave some 120 served by 0.6 s at the most.
    assert beyond["unserved"] >= 150
    assert beyond["latency_ms"]["p99"] > 200


def test_variants_are_rows_and_what_cannot_be_is_one_too(tmp_path: Path) -> None:
    variants = ("--precision", "int8,fp32", "--batch", "1,4")
    done, rows = infer("1", *variants, folder=tmp_path)
    assert done.returncode == 0
    refused = [row for row in rows if row["status"] != "ok"]
    assert [(row["precision"], row["batch"]) for row in refused] == [("int8", 4)]
    assert refused[0]["reason"] == "the fake quantises nothing in batches"
    errors = {row["precision"]: row["output_err"] for row in rows if row["status"] == "ok"}
    assert errors == {"fp32": None, "int8": pytest.approx(0.1)}


@pytest.mark.parametrize(
    ("kind", "said"),
    [("static", "the file was written for batches of 4"), ("nan", "numbers that are not finite")],
)
def test_nothing_measured_is_a_row_and_an_exit_code(kind: str, said: str, tmp_path: Path) -> None:
    done, [row] = infer(kind, folder=tmp_path)
    assert done.returncode == 3
    assert said in row["reason"]
    assert said in done.stdout


@pytest.mark.parametrize(
    ("kind", "arguments", "said"),
    [
        ("torn", (), "cannot be read as a model: inputs: ValueError: this file ends early"),
        ("wide", (), "input 'x' leaves its dimension 'width' open: give it, such as --dim width="),
        ("1", ("--dim", "height=2"), "--dim height: the model leaves N open"),
        ("1", ("--data", "nowhere.npz"), "nowhere.npz is no file: name one that is there"),
        ("1", ("--size", "tiny"), "--size is not of --workload infer: leave it away"),
        ("1", ("--setting", "spin=on"), "unknown setting of fake 'spin'"),
        ("1", ("--precision", "bf16"), "unknown precision 'bf16'"),
        ("1", ("--backend", "torch"), "unknown backend that serves a file 'torch'"),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    kind: str, arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    done, rows = infer(kind, *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert rows == []
    assert not (tmp_path / "rows.jsonl").exists()
