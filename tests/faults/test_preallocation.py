"""Frameworks that take a GPU's memory in advance: real processes, and an NVML that counts them."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench import backends_index, grid
from bench.accelerators import nvidia
from bench.accelerators.devices import Devices
from bench.accelerators.gauge import Gauge
from bench.contract import Cell
from bench.envs import Env
from bench.run.run_cell import run_cell
from bench.run.tools import Tools
from tests.fake_nvml import FakeNvml, Gpu
from tests.harness import FAKE
from workloads import prepare

MIB = 2**20
POOL_MIB, NEEDED_MIB = 107_000, 2_300


class Counting(FakeNvml):
    """Every worker of ours has a pool, unless its environment forbids it."""

    def nvmlDeviceGetComputeRunningProcesses(self, gpu):  # noqa: N802  # NVML's name
        gpu.users = [
            (pid, (NEEDED_MIB if b"FAKE_PREALLOCATES=false" in variables else POOL_MIB) * MIB)
            for pid, variables in _workers()
        ]
        return super().nvmlDeviceGetComputeRunningProcesses(gpu)


def _workers():
    for folder in Path("/proc").iterdir():
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # no process, not ours, or gone meanwhile
            continue
        if stat[1] == str(os.getpid()) and any(v.startswith(b"BENCH_SCRATCH=") for v in variables):
            yield int(folder.name), variables


@pytest.fixture
def row_of(monkeypatch):
    """Runs a cell of the fake backend on a fake GPU that counts what its processes hold."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.syspath_prepend(str(FAKE))
    backends_index._others.cache_clear()
    nvidia._start.cache_clear()
    Counting(Gpu("GPU-5fc1a0b2-0000")).install(monkeypatch)
    yield row
    nvidia._start.cache_clear()
    backends_index._others.cache_clear()


def row(say=lambda _: None, **settings: str):
    request = grid.Request(
        backends=["fake"], workloads=["cnn"], sizes=["tiny"], devices=["cuda"], brought=["fake"]
    )
    (task,) = grid.plan(request, entry=backends_index.find)
    cell: Cell = replace(task.cell, settings={"has": "cuda", **settings})
    spec = replace(task.spec, measure_s=0.05, steps_min=2, warmup_cap=1)
    env = Env(python=Path(sys.executable), lock="packages:x", device="cuda", note="")
    tools = Tools(
        environment=lambda *_: env,
        prepared=prepare.ensure,
        say=say,
        devices=Devices(),
    )
    return run_cell(replace(task, cell=cell, spec=spec), tools).row


def test_speed_is_measured_with_the_pool_and_memory_without(row_of):
    found = row_of()
    assert (found["status"], found["pool_driver_mib"]) == ("ok", POOL_MIB), found
    assert (found["peak_driver_mib"], found["context_mib"]) == (NEEDED_MIB, NEEDED_MIB)
    assert found["settings"]["preallocation"] == "on for speed, off for memory"
    assert found["samples_per_s"] > 0


def test_what_the_rates_are_measured_with_is_no_part_of_the_peaks(row_of, monkeypatch):
    phases: list[str] = []
    looked: list[str] = []
    look = Gauge.look
    monkeypatch.setattr(
        Gauge, "look", lambda *a, **k: (looked.append(phases[-1]), look(*a, **k))[1]
    )
    found = row_of(say=phases.append, preallocation="off")
    assert {"probe", "finish"} <= set(phases)
    assert set(looked) == {"start", "build", "gate", "warm_up", "run", "latency"}
    assert found["peak_device_mib"] == 1.0


@pytest.mark.parametrize(
    ("settings", "pool", "peak", "said"),
    [
        ({"preallocation": "off"}, None, NEEDED_MIB, "off"),
        ({"preallocation": "on"}, POOL_MIB, POOL_MIB, "on"),
        ({"do": "nothing"}, None, POOL_MIB, None),  # an engine of it that has no pool
    ],
)
def test_a_setting_makes_it_the_same_for_both(row_of, settings, pool, peak, said):
    found = row_of(**settings)
    assert found["status"] == "ok", found
    assert (found["pool_driver_mib"], found["peak_driver_mib"]) == (pool, peak)
    assert found["settings"].get("preallocation") == said


def test_what_the_second_process_could_not_say_stays_empty_beside_the_speed(row_of):
    found = row_of(do="fails_without_a_pool")
    assert (found["status"], found["pool_driver_mib"]) == ("ok", POOL_MIB), found
    assert (found["peak_driver_mib"], found["context_mib"]) == (None, None)
    assert (
        found["settings"]["preallocation"]
        == "on for speed; off: start: RuntimeError: a plain failure"
    )


def test_the_size_of_a_pool_is_not_what_a_failed_cell_needed(row_of):
    found = row_of(do="wrong_logits")
    assert (found["status"], found["peak_driver_mib"]) == ("parity_failed", None)
    assert found["pool_driver_mib"] == POOL_MIB
    assert found["settings"]["preallocation"] == "on"


def test_a_cell_without_room_for_its_scratch_folder_is_a_row(row_of, monkeypatch):
    def full(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.mkdtemp", full)
    found = row_of(has="")
    assert found["status"] == "failed"
    assert found["reason"].startswith("no worker could be started: [Errno 28] No space left")
