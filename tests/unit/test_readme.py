"""The README's tables: made from rows, current, and honest about what was not measured."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from bench import targets
from bench.errors import UsageError
from bench.readme import language, tables
from bench.rows.schema import COLUMNS
from tests.rows import export_row, failed_row, generate_row, ok_row

ROOT = Path(__file__).resolve().parents[2]


def line(lines, backend, workload):
    (found,) = [one for one in lines if one.startswith(f"| {backend} | {workload} |")]
    return [cell.strip() for cell in found.strip("| \n").split("|")][2:]


def test_support_says_measured_unsupported_with_its_reason_or_not_yet():
    rows = [
        ok_row(),
        ok_row(mode="compiled"),
        failed_row(precision="int8", status="unsupported", reason="no int8 | here"),
        export_row(),
    ]
    lines = list(tables.support(rows))
    assert lines[0] == "| cpu | workload | fp32 | int8 |"
    assert line(lines, "torch", "cnn") == ["measured (eager, compiled)", "unsupported (1)"]
    assert line(lines, "torch", "export") == ["measured (onnx)", "not yet measured"]
    assert line(lines, "jax", "cnn") == ["not yet measured"] * 2
    assert "1. no int8 \\| here" in lines
    assert "On cuda nothing is measured yet.\n" in lines


def test_what_was_measured_at_tiny_only_says_so():
    rows = [ok_row(size="tiny"), ok_row(size="tiny", mode="compiled"), ok_row(size="small")]
    rows += [ok_row(mode="compiled", track="tuned")]
    (cell,) = line(list(tables.support(rows)), "torch", "cnn")
    assert cell == "measured (eager, compiled tuned, compiled at tiny)"


def test_what_did_not_end_well_names_its_size():
    rows = [ok_row(size="tiny"), failed_row(status="timeout", reason="a step takes an age")]
    (cell,) = line(list(tables.support(rows)), "torch", "cnn")
    assert cell == "measured (eager at tiny); timeout at small (1)"


def test_a_cache_that_is_not_kept_is_no_lack_of_support():
    cold = ok_row(compile_cache="cold")
    warm = failed_row(status="unsupported", reason="it keeps none", compile_cache="warm")
    assert line(list(tables.support([cold, warm])), "torch", "cnn") == ["measured (eager)"]


def test_compile_times_stand_cold_beside_warm_and_a_cache_that_is_not_kept_says_why():
    compiled = {"size": "tiny", "mode": "compiled", "track": "out-of-box", "world_size": 1}
    rows = [
        ok_row(**compiled, compile_cache="cold", compile_s=9.0, cell_id="a"),
        ok_row(**compiled, compile_cache="warm", compile_s=3.0, cell_id="b"),
        ok_row(**compiled, compile_cache="cold", compile_s=7.0, cell_id="c", backend="mxnet"),
        failed_row(
            **compiled,
            compile_cache="warm",
            cell_id="d",
            backend="mxnet",
            status="unsupported",
            reason="it keeps none",
        ),
    ]
    lines = list(tables.compiling(rows))
    torch, mxnet = (one.strip("| ").split(" | ") for one in lines[2:4])
    assert torch[:2] + torch[4:6] == ["torch", "compiled", "9 s", "3 s"]
    assert mxnet[1:2] + mxnet[4:6] == ["compiled", "7 s", "none (1)"]
    assert "1. it keeps none" in lines


def test_rows_of_a_time_to_accuracy_are_not_among_those_of_a_pilot():
    """Their backends ran one after another: on another day this machine was a third faster."""
    chosen = {"size": "small", "track": "out-of-box", "world_size": 1, "compile_cache": "cold"}
    pilot = ok_row(**chosen, samples_per_s=38.7, step_ms_p50=826.0)
    later = pilot | {"started_at": pilot["started_at"] + timedelta(days=5), "samples_per_s": 51.7}
    alone = later | {"target_accuracy": 0.97, "target_found": 0.98}
    said = [line for line in tables.training([pilot, alone]) if line.startswith("| torch")]
    assert "38.7/s" in said[0]
    assert "51.7/s" in next(line for line in tables.training([pilot, later]) if "torch" in line)


def test_an_archived_upstream_is_said_in_every_table():
    lines = list(tables.support([ok_row()]))
    assert line(lines, "mxnet (archived 2023-11)", "cnn") == ["not yet measured"]


def test_the_readme_counts_the_columns_that_there_are():
    assert f"The CSV has {len(COLUMNS)} columns" in (ROOT / "README.md").read_text("utf-8")


def test_a_decoder_has_a_line_for_each_way_that_it_was_trained():
    way = {"workload": "llm", "size": "small", "world_size": 1, "track": "out-of-box"}
    way |= {"compile_cache": "cold"}
    rows = [
        ok_row(**way, cell_id="a", tokens_per_s=1200.0, optimizer_mib=117.6, activation_mib=300.0),
        ok_row(**{**way, "workload": "lora"}, cell_id="b", tokens_per_s=1400.0),
        ok_row(**{**way, "track": "tuned"}, cell_id="c", tokens_per_s=1500.0),
        failed_row(
            **way, cell_id="d", backend="jax", mode="compiled", status="timeout", reason="x"
        ),
        failed_row(**way, cell_id="e", backend="onnxruntime", mode="compiled"),
    ]
    rows[-1] |= {"status": "unsupported", "reason": "it only infers"}
    lines = list(language.training(rows))
    assert lines[2:] == [
        "| torch | eager | 1,200 tokens/s | 1,400 tokens/s | 118 MiB |  | 300 MiB |  |",
        "| torch | eager, tuned | 1,500 tokens/s |  |  |  |  |  |",
        "| jax | compiled | timeout (1) |  |  |  |  |  |",
        *("", "1. x", ""),
    ]


def test_answering_stands_alone_beside_eight_at_a_time():
    plain = {"size": "small", "world_size": 1, "track": "out-of-box", "compile_cache": "cold"}
    rows = [
        generate_row(**plain, cell_id="a", batch=1, ttft_ms_p50=30.0, decode_tokens_per_s=90.0),
        generate_row(**plain, cell_id="b", batch=8),
    ]
    (found,) = list(language.serving(rows))[2:-2]
    assert found == (
        "| torch | eager | 30 ms | 300 ms | 50 ms | 60 ms | 50 ms | 60 ms | 90/s | 320/s | 2,048 |"
    )


def test_an_accuracy_that_was_reached_has_its_times_and_one_that_was_not_says_never():
    here = {"cluster": "a", "device_name": "b", "target_accuracy": 0.9}
    asked = {**here, "target_found": 0.95, "target_compile_s": 0.5}
    got = [
        ok_row(**asked, cell_id="x/cnn/a", target_s=time, target_samples=640) for time in (2.0, 4.0)
    ]
    never = ok_row(**here, cell_id="y/cnn/b", target_found=0.5)
    assert list(targets.markdown([never, *got]))[2:] == [
        "| x/cnn/a | 0.9 | 2 of 2 | 3 s (2 to 4) | 640 | 0.5 s |",
        "| y/cnn/b | 0.9 | 0 of 1 | never (best 0.500) |  |  |",
    ]


def test_a_table_is_replaced_in_its_place():
    text = "a\n<!-- one -->\nold\n<!-- /one -->\nb\n"
    made = tables.filled(text, {"one": ["| \\1 |", "new"]})
    assert made == "a\n<!-- one -->\n| \\1 |\nnew\n<!-- /one -->\nb\n"
    assert tables.filled(made, {"one": ["| \\1 |", "new"]}) == made
    with pytest.raises(UsageError, match="needs <!-- two --> and <!-- /two -->"):
        tables.filled(text, {"two": []})


def test_the_readme_is_what_the_committed_rows_make():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = tables.committed(ROOT / "results")
    made = {name: make(rows) for name, make in tables.SECTIONS.items()}
    assert tables.filled(page, made) == page, "run `make readme`"
