"""Two CPU processes, or two parts of the host, train and are timed as one cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.registry import BACKENDS
from bench.rows import files
from tests.contract.asking import run_tiny, training

OF_THE_WHOLE_BATCH = ("jax", "keras")
"""Their means run over arrays that are divided; in the others each device has statistics."""

TRACKS = {"mindspore": "tuned"}  # out-of-box its convolutions take 100 times as long


@pytest.mark.parametrize("backend", training())
def test_the_cnn_trains_on_two_devices_as_on_one(backend: str, tmp_path: Path) -> None:
    out = tmp_path / "two.csv"
    asked = ["--workload", "cnn", "--world-size", "2", "--threads", "1", "--batch", "8"]
    asked += ["--track", TRACKS.get(backend, "out-of-box")]
    done = run_tiny(backend, *asked, out=out)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = files.read(out)
    assert (row["status"], row["parity"]) == ("ok", "passed"), row["reason"]
    whole = row["settings"]["batch_statistics"] == "of the whole batch"
    assert whole == (backend in OF_THE_WHOLE_BATCH)
    assert row["allreduce_ms"] > 0
    if BACKENDS[backend].rank_env:
        assert [sorted(one) for one in row["ranks"]] == [["peak_host_mib", "rank", "step_ms"]] * 2
        assert row["slowest_rank"] in (0, 1)
