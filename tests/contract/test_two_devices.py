"""Two CPU processes, or two parts of the host, train and are timed as one cell."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from backends.registry import BACKENDS
from bench.rows import files
from tests.contract.asking import cell, run_tiny, selected, training
from tests.contract.conftest import Ask

OF_THE_WHOLE_BATCH = ("jax", "keras")
"""Their means run over arrays that are divided; in the others each device has statistics."""

TRACKS = {"mindspore": "tuned"}  # out-of-box its convolutions take 100 times as long

GPUS_ONLY = [name for name in ("torch", "paddle") if name in selected()]
"""Where synchronised statistics have no kernel on a CPU. Lightning and DeepSpeed are torch."""


def buffers() -> set[str]:
    """DeepSpeed's all-reduce buffers in shared memory, 64 MiB each.

    It left two after each run: 126 of them held 8.2 of a machine's 23 GiB after a day's tests.
    """
    return {path.name for path in Path("/dev/shm").glob("deepspeed_allreduce_buffer_*")}


def left(before: set[str]) -> set[str]:
    """What is there that was not before, but for the moment's ones of a test beside this one."""
    for _ in range(60):
        if not buffers() - before:
            break
        time.sleep(1)
    return buffers() - before


@pytest.mark.parametrize("backend", training())
def test_the_cnn_trains_on_two_devices_as_on_one(backend: str, tmp_path: Path) -> None:
    before, out = buffers(), tmp_path / "two.csv"
    asked = ["--workload", "cnn", "--world-size", "2", "--batch", "8"]
    asked += ["--track", TRACKS.get(backend, "out-of-box")]
    done = run_tiny(backend, *asked, out=out)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = files.read(out)
    assert (row["status"], row["parity"]) == ("ok", "passed"), row["reason"]
    whole = row["settings"]["batch_statistics"] == "of the whole batch"
    assert whole == (backend in OF_THE_WHOLE_BATCH)
    assert "changed_while_running" not in row["settings"]
    assert row["allreduce_ms"] > 0
    if BACKENDS[backend].rank_env:
        assert [sorted(one) for one in row["ranks"]] == [["peak_host_mib", "rank", "step_ms"]] * 2
        assert row["slowest_rank"] in (0, 1)
    assert left(before) == set()


@pytest.mark.backend("tensorflow")
@pytest.mark.skipif("tensorflow" not in selected(), reason="TensorFlow is not asked for")
def test_synchronised_statistics_are_those_of_one_device(tmp_path: Path) -> None:
    """The gate's reference is then the one that saw whole batches, and so are the logits after.

    JAX and Keras do so without being asked, above.
    """
    out = tmp_path / "one.csv"
    asked = ["--workload", "cnn", "--world-size", "2", "--batch", "16"]
    run_tiny("tensorflow", *asked, "--setting", "batchnorm=synchronised", out=out)
    (row,) = files.read(out)
    assert (row["status"], row["parity"]) == ("ok", "passed"), row["reason"]
    assert row["settings"]["batch_statistics"] == "of the whole batch"


@pytest.mark.parametrize(
    "backend", [pytest.param(name, marks=pytest.mark.backend(name)) for name in GPUS_ONLY]
)
def test_statistics_that_only_gpus_synchronise_are_refused_on_a_cpu(ask: Ask, backend: str) -> None:
    asked = cell(backend, "cnn", world_size=2, settings={"batchnorm": "synchronised"})
    assert "GPU" in ask("recompute", asked)["unsupported"]


@pytest.mark.skipif("torch" not in selected(), reason="torch is not asked for")
def test_torch_converts_each_batchnorm_and_nothing_else(ask: Ask) -> None:
    settings = {"batchnorm": "synchronised", "recompute": "on"}
    converted = cell("torch", "cnn", settings=settings)
    found = ask("on_gpu:convert_torch", cell("torch", "cnn"), cells={"converted": converted})
    plain, after = found["plain"], found["converted"]
    assert after["names"] == plain["names"]
    norms = sum(name.endswith("running_mean") for name in plain["names"])
    assert (plain["layers"], after["layers"]) == (0, norms)
    # Recomputed blocks would update them twice.
    np.testing.assert_allclose(after["means"], plain["means"], rtol=1e-5, atol=1e-7)
