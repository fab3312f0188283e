from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench.rows import schema
from bench.table import render, summary
from tests.rows import export_row, failed_row, ok_row


def shown(*rows, width=None, terminal=False):
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, color_system=None)
    render([schema.typed(schema.text(row)) for row in rows], console=console)
    assert console.width == Console(file=io.StringIO(), width=width).width
    return out.getvalue().splitlines()


def below(lines):
    """What follows the header's rule."""
    rule = next(at for at, line in enumerate(lines) if "\N{BOX DRAWINGS LIGHT HORIZONTAL}" in line)
    return lines[rule + 1 :]


def test_a_row_is_a_line_with_inference_figures_on_export_rows():
    lines = shown(ok_row(compile_s=1.25), export_row())
    names = "backend workload prec. mode status samples/s ms s MiB parity rung"
    assert lines[0].split() == ["p50", "compile", "host", "export"]
    assert " ".join(lines[1].split()) == names
    train, export = below(lines)
    assert " ".join(train.split()) == "torch cnn fp32 eager ok 1,280 50 1.25 900 passed"
    assert " ".join(export.split()) == (
        "torch export cnn fp32 eager ok 250 4 900 passed onnx latency"
    )


def test_repeats_are_one_line_with_the_median_of_those_that_are_ok():
    # 1260, 1280 and 1340 samples/s: the median is 1280, the mean would be 1293
    rates = {0: 1260.0, 1: 1340.0, 2: 1280.0}
    rest = {"tflops": None, "mfu": None, "precision_honest": None}
    rows = [ok_row(repeat=at, samples_per_s=rate, **rest) for at, rate in rates.items()]
    (line,) = below(shown(*rows))
    assert "ok n=3 " in line
    assert " 1,280 " in line
    line, reason = below(shown(*rows, failed_row(repeat=3)))
    assert "ok n=3, crashed n=1 " in line
    assert " 1,280 " in line
    assert reason.startswith("crashed: ")


def test_the_worst_parity_and_the_lowest_rung_of_the_repeats_are_shown():
    half = export_row(repeat=1, export_rung="numerics", status="failed", reason="x")
    (line, _) = below(shown(export_row(), half))
    assert "passed onnx numerics" in line
    (line, _) = below(
        shown(ok_row(), failed_row(repeat=1, status="parity_failed", parity="failed"))
    )
    assert " failed " in line
    assert "passed" not in line


def test_two_runs_are_never_pooled():
    assert len(below(shown(ok_row(), ok_row(run_id="other")))) == 2


def test_what_was_not_measured_is_blank():
    line, _ = below(shown(failed_row()))
    assert line.split() == ["torch", "cnn", "fp32", "eager", "crashed"]


def test_reasons_are_one_line_each_and_nothing_in_them_is_obeyed():
    reason = "[red]no[/] \x1b[31m:smile: kernel\nat " + "x" * 400
    rows = (failed_row(reason=reason), failed_row(repeat=1, reason=reason), failed_row(repeat=2))
    _, long, short = below(shown(*rows))
    start = f"crashed: {failed_row()['cell_id']}: "
    assert long.startswith(start + "[red]no[/] [31m:smile: kernel at xxx")
    assert long.endswith("x...")
    assert len(long) == len(start) + 300
    assert short == f"{start}signal 11 while compiling"


def test_a_foreign_file_cannot_colour_or_break_the_table():
    name = "[b]x\x1b[2J\n"
    (line,) = below(shown(ok_row(backend=name, cell_id=f"{name}{ok_row()['cell_id'][5:]}")))
    assert line.startswith("[b]x [2J cnn ")


def test_an_archived_upstream_is_marked_and_said_once():
    old = [
        row | {"backend": "mxnet", "archived": "2023-11", "cell_id": f"mxnet{row['cell_id'][5:]}"}
        for row in (ok_row(), export_row())
    ]
    lines = below(shown(ok_row(), *old))
    assert [line.split()[0] for line in lines[:3]] == ["torch", "mxnet*", "mxnet*"]
    assert lines[3:] == ["* mxnet: its upstream is archived since 2023-11"]


def test_columns_that_tell_cells_apart_appear_only_then():
    bigger = ok_row(size="base", cell_id=ok_row()["cell_id"].replace("small", "base"))
    lines = shown(ok_row(), bigger)
    assert "prec. mode size status" in " ".join(lines[1].split())
    assert [line.split()[4] for line in below(lines)] == ["small", "base"]


@pytest.mark.parametrize("width", [100, 120])
def test_a_terminal_of_usual_width_keeps_every_figure_whole(width):
    name = "onnxruntime/export/transformer/small/cpu/int8/compiled/out-of-box/b1/w1/onnx"
    widest = export_row(
        backend="onnxruntime",
        model="transformer",
        precision="int8",
        mode="compiled",
        cell_id=name,
        export_rung="dynamic_batch",
    )
    lines = shown(widest, width=width, terminal=True)
    assert max(map(len, lines)) <= width
    whole = " ".join(below(lines)[0].split())
    assert whole.startswith("onnxruntime export")
    assert "int8 compiled ok 250 4 900 passed onnx" in whole


def test_a_pipe_is_not_wrapped_and_has_no_escapes(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    lines = shown(ok_row(), export_row(), failed_row(repeat=1, reason="word " * 30))
    assert len(below(lines)) == 3
    assert "\x1b" not in "".join(lines)


def test_the_summary_counts_statuses_in_their_order():
    rows = [failed_row(), failed_row(status="unsupported"), *[ok_row()] * 3]
    assert summary(rows) == "5 rows: 3 ok, 1 unsupported, 1 crashed"
    assert summary(rows[:1]) == "1 row: 1 crashed"
    assert summary([]) == "no rows"
