"""Nanoseconds into figures; each expected value is worked out in a comment."""

from __future__ import annotations

import numpy as np
import pytest

from bench.worker.figures import Times, Tokens, figures
from tests.cells import cell

MS, S = 1_000_000, 1_000_000_000  # ns


# The median block lasts 0.5 s, its 4 steps are 8 a second; the outliers do not count.
TIMES = Times(
    block_steps=4,
    block_ns=[9 * S, S // 2, S // 10],
    step_ns=[n * MS for n in range(101, 0, -1)],
)
KNOWN = {"flops_per_sample": 2_000_000_000}


def test_training():
    assert figures(cell(), TIMES, known=KNOWN, tokens=None) == pytest.approx(
        {
            "samples_per_s": 256.0,  # 8 steps of 32
            "steps": 12,  # 3 blocks of 4
            # 1 to 101 ms have 100 gaps of 1 ms: 50, 95 and 99 gaps from 1.
            "step_ms_p50": 51.0,
            "step_ms_p95": 96.0,
            "step_ms_p99": 100.0,
            "tflops": 0.512,  # 2e9 x 256 / 1e12
        }
    )


def test_export_has_inference_columns_and_none_of_training():
    found = figures(
        cell(workload="export", format="onnx", batch=1), TIMES, known=KNOWN, tokens=None
    )
    assert found == pytest.approx(
        {
            "infer_samples_per_s": 8.0,
            "infer_steps": 12,
            "infer_ms_p50": 51.0,
            "infer_ms_p95": 96.0,
            "infer_ms_p99": 100.0,
            "tflops": 0.016,  # 2e9 x 8 / 1e12
        }
    )


def test_padded_and_real_tokens_apart():
    tokens = Tokens(padded=32 * 64, real=500.0)
    found = figures(cell(), TIMES, known=KNOWN, tokens=tokens)
    assert found["tokens_per_s"] == 16384.0  # 8 x 2048
    assert found["real_tokens_per_s"] == 4000.0  # 8 x 500


def test_every_process_counts_towards_the_rates():
    known = KNOWN | {"gemm_tflops": 1.024}
    tokens = Tokens(padded=200.0, real=50.0)  # of the step's batch, which both processes share
    found = figures(cell(world_size=2), TIMES, known=known, tokens=tokens)
    assert found["samples_per_s"] == 512.0  # 8 x 32 x 2
    assert (found["tokens_per_s"], found["real_tokens_per_s"]) == (1600.0, 400.0)
    assert found["tflops"] == pytest.approx(1.024)  # 2e9 x 512 / 1e12
    # Two devices could do 2.048 TFLOP/s.
    assert found["mfu"] == pytest.approx(0.5)
    assert found["step_ms_p50"] == 51.0  # a step lasts what it lasts


@pytest.mark.parametrize(
    ("gemm_tflops", "mfu", "honest"),
    [
        (1.28, 0.4, True),  # 0.512 / 1.28
        (0.512, 1.0, True),
        (0.47, 1.0893617, True),  # 0.512 / 0.47: within what a machine drifts
        (0.46, 1.1130435, False),  # 0.512 / 0.46: more than the machine can do in this precision
    ],
)
def test_precision_is_doubted_above_the_rate_of_a_matrix_product(gemm_tflops, mfu, honest):
    found = figures(cell(), TIMES, known=KNOWN | {"gemm_tflops": gemm_tflops}, tokens=None)
    assert found["mfu"] == pytest.approx(mfu)
    assert found["precision_honest"] is honest


@pytest.mark.parametrize("unmeasured", [{}, {"gemm_tflops": None}])
def test_without_a_product_there_is_nothing_to_say_about_precision(unmeasured):
    found = figures(cell(), TIMES, known=KNOWN | unmeasured, tokens=None)
    assert not {"mfu", "precision_honest"} & set(found)


@pytest.mark.parametrize(
    ("first_step_s", "compile_s"),
    [
        (3.0, 2.875),  # less a step of 1/8 s
        (0.1, 0.0),  # faster than a step: nothing was compiled in it
    ],
)
def test_compiling_is_what_the_first_step_took_beyond_a_step(first_step_s, compile_s):
    known = KNOWN | {"first_step_s": first_step_s}
    found = figures(cell(mode="compiled"), TIMES, known=known, tokens=None)
    assert found["compile_s"] == pytest.approx(compile_s)
    assert "compile_s" not in figures(cell(mode="eager"), TIMES, known=known, tokens=None)


def test_an_unknown_first_step_leaves_compiling_empty():
    assert "compile_s" not in figures(cell(mode="compiled"), TIMES, known=KNOWN, tokens=None)


def test_steps_that_were_not_timed_singly_leave_their_columns_empty():
    times = Times(block_steps=4, block_ns=[S // 2])
    found = figures(cell(), times, known=KNOWN, tokens=None)
    assert set(found) == {"samples_per_s", "steps", "tflops"}


def test_text_without_a_mask_has_no_padding():
    ids = np.ones((2, 8), np.int64)
    assert Tokens.of([{"ids": ids, "label": ids}]) == Tokens(padded=16.0, real=16.0)
    mask = np.array([[1, 1, 0, 0]])
    assert Tokens.of([{"ids": mask, "mask": mask}]) == Tokens(padded=4.0, real=2.0)
    assert Tokens.of([{"image": ids}]) is None
