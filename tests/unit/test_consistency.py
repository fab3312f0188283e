from __future__ import annotations

import math
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.rows import schema
from tests.rows import export_row, failed_row, generate_row, ok_row

EXPORT_ID = export_row()["cell_id"]
UNDERIVED = {"tflops": None, "mfu": None, "precision_honest": None}
TARGET = {
    "target_accuracy": 0.97,
    "target_found": 0.98,
    "target_s": 2.0,
    "target_samples": 640,
    "target_compile_s": 0.5,
}
WRONG = [
    # Throughput and latency: 64 / 1280 s are 50 ms; 10 x the throughput makes 5 ms of them.
    (ok_row(samples_per_s=12_800.0, flops_per_sample=10**8), "makes 5 ms"),
    (ok_row(samples_per_s=1.28, flops_per_sample=10**12), "makes 5e+04 ms"),  # seconds for ms
    (export_row(infer_ms_p50=0.03), "infer_ms_p50 is 0.03, but batch x world_size"),
    (ok_row(step_ms_p95=49.0), "step_ms_p50 50 is above step_ms_p95 49"),
    (ok_row(step_ms_p99=54.0), "step_ms_p95 55 is above step_ms_p99 54"),
    (failed_row(step_ms_p50=50.0, step_ms_p99=49.0), "step_ms_p50 50 is above step_ms_p99 49"),
    (export_row(infer_ms_p99=4.5), "infer_ms_p95 5 is above infer_ms_p99 4.5"),
    # Rates: 1.28 +- 1 % is what the row's own figures make.
    (ok_row(tflops=1.30, mfu=1.30 / 3.2), "tflops is 1.3, but the row's own figures make 1.28"),
    (ok_row(flops_per_sample=None), "tflops is given, but not what it is derived from"),
    (ok_row(mfu=0.41), "mfu is 0.41, but the row's own figures make 0.4"),
    (
        ok_row(gemm_tflops=None, precision_honest=None),
        "mfu is given, but not what it is derived from",
    ),
    # 1.28 > 1.5 x 0.8 = 1.2
    (ok_row(device_tflops=0.8), "more FLOP/s than the device has: tflops 1.28, device 0.8"),
    (
        ok_row(gemm_tflops=1.1, mfu=1.28 / 1.1),
        "precision_honest is true, but tflops and gemm_tflops make it false",
    ),
    (ok_row(precision_honest=False), "precision_honest is false, but"),
    (ok_row(precision_honest=None), "precision_honest is empty, but"),
    (ok_row(gemm_tflops=None, mfu=None), "precision_honest is true, but"),
    # Parts and wholes.
    (ok_row(baseline_host_mib=901.0), "baseline_host_mib 901 is above peak_host_mib 900"),
    (
        ok_row(tokens_per_s=100.0, real_tokens_per_s=101.0),
        "real_tokens_per_s 101 is above tokens_per_s 100",
    ),
    (ok_row(accuracy=1.01), "accuracy 1.01 is above 1"),
    (
        ok_row(**TARGET | {"target_found": 0.96}),
        "target_s is given, but target_found",
    ),
    (
        ok_row(**TARGET | {"target_s": None}),
        "target_accuracy 0.97 or more, but",
    ),
    (ok_row(**TARGET | {"target_compile_s": 3.0}), "target_compile_s 3 is above target_s 2"),
    (ok_row(**TARGET | {"target_accuracy": None}), "target_found is given, but not both"),
    (
        ok_row(wall_s=12.9),
        "import_s + build_s + measure_s + target_s is 13 s, more than wall_s 12.9",
    ),
    (ok_row(parity_s=20.5), "parity_s is 20.5 s, more than wall_s 20"),
    # Status.
    (ok_row(status="fine", reason="x"), "status 'fine' is none of ok, "),
    (ok_row(parity=""), "status is ok, but parity is 'empty'"),
    (ok_row(parity="failed"), "status is ok, but parity is 'failed'"),
    (ok_row(samples_per_s=None, **UNDERIVED), "samples_per_s is missing"),
    (ok_row(step_ms_p50=None), "step_ms_p50 is missing"),
    (ok_row(steps=0), "steps is zero"),
    (ok_row(wall_s=None), "wall_s is missing"),
    (ok_row(backend_version=""), "backend_version is missing"),
    (export_row(export_rung=""), "export_rung is missing"),
    (generate_row(ttft_ms_p50=None), "ttft_ms_p50 is missing"),
    (generate_row(itl_ms_p50=70.0), "itl_ms_p50 70 is above itl_ms_p99 60"),
    (generate_row(cache_bytes_per_token=1024.0), "cache_bytes_formula 2048 is above"),
    (generate_row(tokens_equal=1.5), "tokens_equal 1.5 is above 1"),
    (generate_row(tokens_equal=0.5), "tokens_equal is 0.5 in fp32"),
    (export_row(export_rung="loaded"), "the exported file only got to the rung loaded"),
    (export_row(export_rung="top"), "export_rung 'top' is none of none, exported"),
    (
        failed_row(workload="export", cell_id=EXPORT_ID.removesuffix("/onnx"), batch=1),
        "export_format is missing on an export row",
    ),
    (export_row(infer_samples_per_s=None, **UNDERIVED), "infer_samples_per_s is missing"),
    (failed_row(reason=""), "reason is missing on a row with status crashed"),
    (failed_row(status="parity_failed"), "status is parity_failed, but parity is 'empty'"),
    (failed_row(status="unsupported", samples_per_s=1.0), "samples_per_s on a row that is"),
    (failed_row(compile_cache="hot"), "compile_cache 'hot' is none of cold, warm"),
    # Identity.
    (failed_row(run_id=""), "run_id is missing"),
    (failed_row(started_at=None), "started_at is missing"),
    (failed_row(schema=2), "schema is 2, not 1"),
    (failed_row(backend="jax"), "does not start with 'jax/cnn/"),
    (failed_row(batch=6), "out-of-box/b6/w1', its own columns"),
    (failed_row(world_size=0), "world_size is zero"),
    # Types and numbers.
    (failed_row(import_s=-0.1), "import_s is negative: -0.1"),
    (failed_row(steps=-1), "steps is negative: -1"),
    (failed_row(mfu=math.nan), "mfu is not finite: nan"),
    (failed_row(loss_last=math.inf), "loss_last is not finite: inf"),
    (failed_row(steps=1.0), "steps is not a whole number but 1.0"),
    (failed_row(steps=True), "steps is not a whole number but True"),
    (failed_row(steps=2**63), "steps is too large to be a count"),
    (failed_row(wall_s=2**53 + 1), "wall_s is not exact as a float"),
    (failed_row(mfu="0.4"), "mfu is not a whole number but '0.4'"),
    (failed_row(precision_honest=1), "precision_honest is not true or false but 1"),
    (failed_row(reason=5), "reason is not a text but int"),
    (failed_row(reason="x" * 20_001), "reason is longer than 20000 characters"),
    (failed_row(settings={"x": math.nan}), "settings is not JSON"),
    (failed_row(settings={"x": {1, 2}}), "settings is not JSON"),
    (failed_row(settings={1: 2}), "settings does not survive as JSON"),
    (failed_row(started_at=datetime(2026, 3, 1)), "started_at has no time zone"),  # noqa: DTZ001  the point
    (failed_row(started_at="2026-03-01T00:00:00Z"), "started_at is not a time but str"),
]


@pytest.mark.parametrize(("row", "clause"), WRONG, ids=[clause for _, clause in WRONG])
def test_a_contradiction_is_the_only_one_found_and_said_in_one_line(row, clause):
    (found,) = schema.contradictions(row)
    assert clause in found
    assert "\n" not in found


@pytest.mark.parametrize(
    "row",
    [
        ok_row(loss_last=-3.0),  # a log-likelihood
        ok_row(step_ms_p50=399.0, step_ms_p95=399.0, step_ms_p99=399.0),  # just within the factor
        # The machine stalled while the blocks ran, not while single steps did: 16 times slower.
        ok_row(samples_per_s=80.0, flops_per_sample=16 * 10**9),
        ok_row(tflops=1.2895, mfu=1.2895 / 3.2),  # within 1 % of 1.28
        ok_row(**UNDERIVED),
        # 1.28 / 1.1 = 1.164: too fast for the declared precision, but not for the device
        ok_row(gemm_tflops=1.1, mfu=1.28 / 1.1, precision_honest=False),
        export_row(export_rung="numerics", reason="dynamic_batch: fixed to 16"),
        failed_row(status="parity_failed", parity="failed", reason="logits off by 0.1"),
        # Eight processes: 512 samples in 50 ms; 10.24 of eight products' 8 x 1.6 TFLOP/s are 0.8.
        ok_row(
            world_size=8,
            cell_id="torch/cnn/cnn/small/cpu/fp32/eager/out-of-box/b64/w8",
            samples_per_s=10_240.0,
            tflops=10.24,
            gemm_tflops=1.6,
            mfu=0.8,
            device_tflops=2.0,
        ),
        ok_row(cell_id=ok_row()["cell_id"] + "/warm/threads=1", compile_cache="warm"),
    ],
)
def test_what_is_unusual_but_possible_is_no_contradiction(row):
    assert schema.contradictions(row) == []


def test_a_short_step_on_an_accelerator_may_wait_longer_than_it_works():
    # 64 samples at 1.28 M/s: 0.05 ms a step in a block; 0.25 ms when each is waited for.
    times = {"samples_per_s": 1_280_000.0, "flops_per_sample": 10**6}
    times |= {"step_ms_p50": 0.45, "step_ms_p95": 0.5, "step_ms_p99": 0.5}
    cuda = {"device": "cuda", "cell_id": ok_row()["cell_id"].replace("/cpu/", "/cuda/")}
    assert schema.contradictions(ok_row(**times, **cuda)) == []
    assert len(schema.contradictions(ok_row(**times))) == 1


@pytest.mark.parametrize("row", [ok_row(), export_row(), generate_row(), failed_row()])
def test_a_true_row_has_no_contradictions_before_and_after_the_file(row):
    assert schema.contradictions(row) == []
    assert schema.contradictions(schema.typed(schema.text(row))) == []


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.dictionaries(
        st.sampled_from([column.name for column in schema.COLUMNS]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes(),
    )
)
def test_any_row_can_be_judged_and_one_without_contradictions_can_be_written(changes):
    row = ok_row(**changes)
    if not schema.contradictions(row):
        read = schema.typed(schema.text(row))
        assert {name: read[name] for name in row} == {
            name: "" if value is None and schema.BY_NAME[name].kind == "text" else value
            for name, value in row.items()
        }
