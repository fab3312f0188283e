"""What several processes of a cell left, in one row."""

from __future__ import annotations

import json

from bench import ranks


def left(path, *, own_block_ns=(), **row):
    times = {"block_steps": 2, "block_ns": [], "own_block_ns": list(own_block_ns), "step_ns": []}
    path.write_text(json.dumps({"row": {"peak_host_mib": 10.0, **row}, "times": times}))
    return path


def test_the_slowest_rank_has_the_largest_median_and_the_peak_is_the_largest(tmp_path):
    # Blocks of 2 steps: medians of 4 and 6 ms, so steps of 2 and 3 ms.
    rows = [
        left(tmp_path / "0", own_block_ns=[4_000_000, 9_000_000, 4_000_000], peak_device_mib=7.0),
        left(tmp_path / "1", own_block_ns=[6_000_000, 6_000_000, 1_000_000], peak_device_mib=9.0),
    ]
    assert ranks.columns(rows) == {
        "ranks": [
            {"rank": 0, "step_ms": 2.0, "peak_host_mib": 10.0, "peak_device_mib": 7.0},
            {"rank": 1, "step_ms": 3.0, "peak_host_mib": 10.0, "peak_device_mib": 9.0},
        ],
        "slowest_rank": 1,
        "peak_device_mib": 9.0,
    }


def test_a_rank_that_died_before_it_wrote_is_left_out(tmp_path):
    rows = [left(tmp_path / "0", peak_device_mib=None), tmp_path / "1"]
    assert ranks.columns(rows) == {
        "ranks": [{"rank": 0, "peak_host_mib": 10.0}],
        "slowest_rank": None,
        "peak_device_mib": None,
    }
