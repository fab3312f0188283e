"""Two or three names with reasons, what disqualified the others, and what would settle the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import main
from tests.comparing import JAX, TORCH, rows, write
from tests.rows import capability_row, export_row, failed_row

MXNET = JAX.replace("jax", "mxnet")
PADDLE = TORCH.replace("torch", "paddle")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """torch trains and exports; jax trains, with much memory; paddle cannot; mxnet is archived."""
    runtime = TORCH.replace("torch", "onnxruntime")
    return write(
        tmp_path / "rows.csv",
        [
            *rows([1.0, 1.0], cell_id=TORCH),
            capability_row("torch", "sharding"),
            capability_row("jax", "sharding", status="unsupported", reason="it has none"),
            export_row(export_format="onnx"),
            *rows([2.0], cell_id=JAX, backend="jax", mode="compiled", peak_host_mib=9000.0),
            failed_row(cell_id=PADDLE, backend="paddle", reason="no kernel"),
            *rows([1.0], cell_id=MXNET, backend="mxnet", mode="compiled", archived="2023-11"),
            failed_row(
                cell_id=runtime, backend="onnxruntime", status="unsupported", reason="infers"
            ),
        ],
    )


def asked(results: Path, capsys, *arguments: str) -> dict:
    main(["shortlist", str(results), "--draws", "200", "--json", *arguments])
    return json.loads(capsys.readouterr().out)


def verdicts(group: list[dict], backend: str) -> dict[str, str]:
    (one,) = (one for one in group if one["backend"] == backend)
    return {answer["must"]: answer["verdict"] for answer in one["answers"]}


def test_reasons_cite_rows(results, capsys):
    found = asked(results, capsys, "--must", "train", "--must", "export:onnx")
    (torch,) = (one for one in found["named"] if one["backend"] == "torch")
    assert [answer["verdict"] for answer in torch["answers"]] == ["met", "met"]
    assert torch["answers"][0]["cell"] == TORCH
    assert torch["settle"] == []
    assert 2 <= len(found["named"]) <= 3


def test_what_is_unmeasured_has_a_command_that_settles_it(results, capsys):
    found = asked(results, capsys, "--must", "device:cuda", "--must", "export:onnx")
    everyone = found["named"] + found["rest"]
    (keras,) = (one for one in everyone if one["backend"] == "keras")
    assert keras["settle"] == [
        "make bench BACKEND=keras DEVICE=cuda",
        "make bench BACKEND=keras FORMAT=onnx WORKLOAD=export",
    ]


def test_a_capability_can_be_a_must(results, capsys):
    found = asked(results, capsys, "--must", "capability:sharding")
    everyone = found["named"] + found["rest"]
    (torch,) = (one for one in everyone if one["backend"] == "torch")
    assert torch["answers"][0]["verdict"] == "met"
    assert verdicts(found["out"], "jax") == {"capability:sharding": "refused"}
    (keras,) = (one for one in everyone if one["backend"] == "keras")
    (line,) = keras["settle"]
    assert "WORKLOAD=capability" in line
    assert "CAPABILITY=sharding" in line


def test_a_capability_is_no_answer_to_other_musts(results, capsys):
    """Its rows are of one precision and device, and say nothing of them."""
    found = asked(results, capsys, "--must", "precision:fp32")
    (jax,) = (one for one in found["named"] + found["rest"] if one["backend"] == "jax")
    assert jax["answers"][0]["cell"] == JAX


def test_failing_and_archived_and_greedy_are_disqualified(results, capsys):
    found = asked(
        results, capsys, "--must", "train", "--must", "maintained", "--max-host-mib", "8000"
    )
    out = found["out"]
    assert verdicts(out, "paddle")["train"] == "refused"
    assert verdicts(out, "mxnet")["maintained"] == "refused"
    assert verdicts(out, "jax")["at most 8000 MiB of host memory"] == "refused"
    assert verdicts(out, "onnxruntime")["train"] == "refused"
    assert "torch" in [one["backend"] for one in found["named"]]


SERVED = {"load_s": 0.5, "serve_import_s": 1.5, "measure_peak_host_mib": 300.0, "export_mib": 40.0}
ROOMY = ("--max-export-mib", "41", "--max-start-s", "2", "--max-serving-mib", "300")


def served(tmp_path: Path, **changes: float) -> Path:
    """One cell in fp32, as SERVED; one in bf16, with a smaller file and slower."""
    bf16 = export_row()["cell_id"].replace("fp32", "bf16")
    slow = {"infer_ms_p99": 9.0, "export_mib": 20.0}
    found = [
        export_row(**SERVED | changes),
        export_row(cell_id=bf16, precision="bf16", **SERVED | slow),
    ]
    return write(tmp_path / "served.csv", found)


@pytest.mark.parametrize(
    ("limits", "verdict", "cell"),
    [
        ((*ROOMY, "--max-p99-ms", "6"), "met", "fp32"),  # the row's own are 6 ms
        ((*ROOMY, "--max-p99-ms", "5.9"), "refused", "fp32"),
        (("--max-export-mib", "20", "--max-p99-ms", "9"), "met", "bf16"),
        (("--max-export-mib", "20", "--max-p99-ms", "6"), "refused", "bf16"),  # each keeps one
        (("--max-start-s", "1.9"), "refused", ""),
    ],
)
def test_limits_of_serving_hold_together(limits, verdict, cell, tmp_path, capsys):
    found = asked(served(tmp_path), capsys, *limits)
    (torch,) = (one for one in found["named"] + found["out"] if one["backend"] == "torch")
    (answer,) = torch["answers"]
    assert answer["verdict"] == verdict
    assert cell in answer["cell"]


def test_what_was_never_served_is_told_how_to_be(results, capsys):
    found = asked(results, capsys, "--max-p99-ms", "5", "--max-start-s", "3")
    everyone = found["named"] + found["rest"]
    (jax,) = (one for one in everyone if one["backend"] == "jax")
    assert jax["settle"] == ["make bench BACKEND=jax WORKLOAD=export"]


def test_the_musts_choose_the_ranking(results, capsys):
    assert asked(results, capsys, "--must", "train")["task"] == "train"
    assert asked(results, capsys, "--must", "export:onnx")["task"] == "serve"
    assert asked(results, capsys, "--must", "train", "--must", "infer")["task"] == "end-to-end"
    assert asked(results, capsys)["task"] == "end-to-end"


def test_the_text_says_it_all(results, capsys):
    arguments = ["--must", "train", "--must", "device:cuda", "--profile", "smb", "--draws", "200"]
    assert main(["shortlist", str(results), *arguments]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Shortlist (train): ")
    assert "make bench BACKEND=torch DEVICE=cuda" in out
    assert "  paddle: train: refused: " in out


def test_nobody_is_an_answer(tmp_path, capsys):
    path = write(tmp_path / "rows.csv", rows([1.0], cell_id=TORCH))
    assert main(["shortlist", str(path), "--max-host-mib", "1", "--draws", "200"]) == 0
    assert "torch" in capsys.readouterr().out.split("Disqualified:")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--must", "trian"], "did you mean 'train'"),
        (["--must", "device:gpu"], "unknown --must device 'gpu'"),
        (["--must", "export"], "unknown --must 'export'"),
        (["--max-host-mib", "0"], "not a number above 0"),
    ],
)
def test_bad_musts_are_one_line(arguments, said, results, capsys):
    assert main(["shortlist", str(results), *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
