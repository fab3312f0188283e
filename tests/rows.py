"""Rows made by hand for tests; their figures are derived here, not by the code under test."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

Row = dict[str, Any]


def ok_row(**changes: Any) -> Row:
    """A training row. 20 steps a second of 64 samples are 1280 samples/s and 50 ms a step;
    1e9 FLOP x 1280 / 1e12 = 1.28 TFLOP/s; of a product's 3.2 TFLOP/s that is 0.4.
    import 2 + build 1 + measure 10 = 13 s, of 20 s in all.
    """
    row: Row = {
        "schema": 1,
        "run_id": "a1b2c3",
        "cell_id": "torch/cnn/cnn/small/cpu/fp32/eager/out-of-box/b64/w1",
        "repeat": 0,
        "started_at": datetime(2026, 3, 1, 12, 30, 15, 250000, tzinfo=UTC),
        "host": "node7",
        "backend": "torch",
        "backend_version": "2.13.0",
        "workload": "cnn",
        "model": "cnn",
        "size": "small",
        "device": "cpu",
        "precision": "fp32",
        "mode": "eager",
        "track": "out-of-box",
        "batch": 64,
        "world_size": 1,
        "status": "ok",
        "samples_per_s": 1280.0,
        "step_ms_p50": 50.0,
        "step_ms_p95": 55.0,
        "step_ms_p99": 60.0,
        "steps": 200,
        "import_s": 2.0,
        "build_s": 1.0,
        "peak_host_mib": 900.0,
        "baseline_host_mib": 250.0,
        "flops_per_sample": 1_000_000_000,
        "tflops": 1.28,
        "mfu": 0.4,
        "precision_honest": True,
        "param_count": 11_173_962,
        "parity": "passed",
        "loss_first": 2.3026,
        "loss_last": 2.1,
        "settings": {"threads": 2, "tf32": False},
        "wall_s": 20.0,
        "measure_s": 10.0,
        "gemm_tflops": 3.2,
        "device_tflops": 4.0,
    }
    return row | changes


def export_row(**changes: Any) -> Row:
    """An export row. 250 calls a second of 1 sample are 4 ms a call;
    2e9 FLOP x 250 / 1e12 = 0.5 TFLOP/s; of a product's 2 TFLOP/s that is 0.25.
    """
    training = ("samples_per_s", "step_ms_p50", "step_ms_p95", "step_ms_p99", "steps")
    row = {name: value for name, value in ok_row().items() if name not in training}
    row |= {
        "cell_id": "torch/export/cnn/small/cpu/fp32/eager/out-of-box/b1/w1/onnx",
        "workload": "export",
        "batch": 1,
        "export_format": "onnx",
        "export_rung": "latency",
        "infer_samples_per_s": 250.0,
        "infer_ms_p50": 4.0,
        "infer_ms_p95": 5.0,
        "infer_ms_p99": 6.0,
        "infer_steps": 1000,
        "flops_per_sample": 2_000_000_000,
        "tflops": 0.5,
        "mfu": 0.25,
        "gemm_tflops": 2.0,
    }
    return row | changes


def generate_row(**changes: Any) -> Row:
    """An ok row of the workload that serves a decoder: 8 prompts a second, answered in 2 s."""
    served = export_row(
        cell_id="torch/generate/decoder/small/cpu/fp32/eager/out-of-box/b16/w1",
        workload="generate",
        model="decoder",
        batch=16,
        infer_samples_per_s=8.0,
        infer_ms_p50=2000.0,
        infer_ms_p95=2001.0,
        infer_ms_p99=2002.0,
        ttft_ms_p50=300.0,
        ttft_ms_p99=310.0,
        itl_ms_p50=50.0,
        itl_ms_p99=60.0,
        decode_tokens_per_s=320.0,
        cache_bytes_per_token=2048.0,
        cache_bytes_formula=2048,
        tokens_equal=1.0,
        flops_per_sample=None,
        tflops=None,
        mfu=None,
        precision_honest=None,
    )
    exports = ("export_format", "export_rung", "export_s", "export_mib", "export_max_abs_err")
    return {**served, **dict.fromkeys(exports), **changes}


def failed_row(**changes: Any) -> Row:
    """A row of a cell that never got to measuring anything."""
    names = "schema run_id cell_id repeat started_at host backend workload model size device"
    names += " precision mode track batch world_size"
    row = {name: value for name, value in ok_row().items() if name in names.split()}
    return row | {"status": "crashed", "reason": "signal 11 while compiling"} | changes


def capability_row(backend: str, capability: str, **changes: Any) -> Row:
    """The answer of one backend to one question."""
    training = "samples_per_s step_ms_p50 step_ms_p95 step_ms_p99 steps tflops mfu loss_first"
    training += " loss_last gemm_tflops device_tflops precision_honest measure_s parity build_s"
    row = {name: value for name, value in ok_row().items() if name not in training.split()}
    row |= {
        "cell_id": f"{backend}/capability/transformer/tiny/cpu/fp32/eager/out-of-box/b16/w1/"
        f"{capability}",
        "backend": backend,
        "workload": "capability",
        "model": "transformer",
        "size": "tiny",
        "batch": 16,
        "capability": capability,
    }
    return row | changes
