"""Accelerators without one: what the vendors' libraries answer is recorded in their own forms."""

import os
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace

import pynvml
import pytest

from backends.registry import BACKENDS
from bench import doctor
from bench.accelerators import amd, auto, choose, nvidia, power
from bench.accelerators.ask import Answer, question
from bench.accelerators.choose import Share, busy, named, share
from bench.accelerators.devices import Devices
from bench.accelerators.facts import Unreadable, User
from bench.accelerators.gauge import Gauge
from bench.accelerators.power import Watched
from bench.errors import EnvError, UsageError
from bench.grid import unlocked
from tests import fake_amdsmi
from tests.fake_nvml import FakeNvml, Gpu

FIRST, SECOND = "GPU-5fc1a0b2-0000", "GPU-77d2e0aa-0000"
MIB = 2**20


@pytest.fixture
def gpus(monkeypatch):
    """Two free GPUs, which the test may change."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvidia._start.cache_clear()
    yield FakeNvml(Gpu(FIRST), Gpu(SECOND)).install(monkeypatch).gpus
    nvidia._start.cache_clear()


@pytest.fixture
def amds(monkeypatch):
    monkeypatch.delenv("ROCR_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "amdsmi", fake_amdsmi)
    amd._library.cache_clear()
    yield fake_amdsmi
    amd._library.cache_clear()


# -- NVIDIA


def test_a_gpu_is_known_by_name_memory_driver_and_ecc(gpus):
    first, second = nvidia.devices()
    assert (first.index, first.uuid, first.name) == (0, FIRST, "NVIDIA H200")
    assert (first.memory_mib, first.driver, first.ecc) == (143_771, "580.159.04", True)
    assert (second.token, second.partition) == ("1", "")


def test_its_state_is_in_the_units_of_the_columns(gpus):
    gpus[0].capped_ns = 1_500_000_000
    gpus[0].reasons = pynvml.nvmlClocksThrottleReasonSwPowerCap
    gpus[0].users = [(4711, 2048 * MIB)]
    found = nvidia.reading(nvidia.devices()[0])
    assert (found.used_mib, found.busy, found.core_mhz, found.memory_mhz) == (600, 0, 345, 3201)
    assert (found.power_w, found.power_limit_w, found.temperature_c) == (75.0, 700.0, 31)
    assert found.throttled == ("power cap",)
    assert found.throttled_s == {"power": 1.5, "thermal": 0.0}
    assert found.users == (User(4711, "/usr/bin/python-4711", 2048.0),)
    assert nvidia.energy_j(nvidia.devices()[0]) == 1000.0


def test_what_a_device_does_not_support_is_empty_and_the_rest_is_there(gpus):
    gpus[0].lacks = frozenset({"nvmlDeviceGetPowerUsage", "nvmlDeviceGetTotalEnergyConsumption"})
    one = nvidia.devices()[0]
    assert nvidia.reading(one).power_w is None
    assert nvidia.reading(one).core_mhz == 345
    assert nvidia.energy_j(one) is None


def test_being_idle_is_no_throttling(gpus):
    assert nvidia.reading(nvidia.devices()[0]).throttled == ()


def test_a_gpu_cut_into_instances_is_those_instances(gpus):
    gpus[0].parts = [
        Gpu("MIG-1", "NVIDIA H200 MIG 1g.18gb", total=16_384 * MIB),
        Gpu("MIG-2", "NVIDIA H200 MIG 1g.18gb", total=16_384 * MIB),
    ]
    one, two, whole = nvidia.devices()
    assert (one.token, one.partition, one.memory_mib) == ("MIG-1", "MIG 1g.18gb", 16_384)
    assert (two.index, whole.index) == (0, 1)
    with pytest.raises(UsageError, match="fits more than one"):
        share("cuda", ["0"], 1)
    assert share("cuda", ["mig-2"], 1).tokens == ("MIG-2",)


def test_without_the_drivers_library_it_cannot_be_read(monkeypatch):
    def fails():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    nvidia._start.cache_clear()
    monkeypatch.setattr(pynvml, "nvmlInit", fails)
    with pytest.raises(Unreadable, match="NVML"):
        nvidia.devices()


# -- AMD


def test_amds_are_counted_as_hip_counts_them(amds):
    first, second = amd.devices()
    assert (first.index, second.index) == (0, 1)
    assert first.name == "AMD Instinct MI300X"
    assert (first.memory_mib, first.driver, first.partition) == (196_592, "6.14.14", "")
    assert first.token == first.uuid == "GPU-0f3a9c0de1b2c3d4"


def test_amds_state_leaves_out_what_is_not_available(amds, monkeypatch):
    gone = {"pid": 7, "name": "N/A", "memory_usage": {"vram_mem": 512 * MIB}}
    monkeypatch.setattr(fake_amdsmi, "USERS", [gone])
    found = amd.reading(amd.devices()[0])
    assert (found.used_mib, found.busy, found.power_w, found.core_mhz) == (300, 0.37, 142, 132)
    assert found.power_limit_w == 750
    assert found.memory_mhz is None  # the call raises on this device
    assert found.throttled == ("power",)
    assert found.users == (User(7, "", 512.0),)
    assert amd.energy_j(amd.devices()[0]) == pytest.approx(2_000_000 * 15.259 / 1e6)


def test_without_rocms_library_it_cannot_be_read(monkeypatch):
    amd._library.cache_clear()
    monkeypatch.setitem(sys.modules, "amdsmi", None)  # as an import that fails
    with pytest.raises(Unreadable, match="AMD SMI"):
        amd.devices()


# -- which devices a cell gets


@pytest.mark.parametrize(
    ("text", "kinds", "asked"),
    [
        ("cuda", "cuda", {}),
        ("cuda:1", "cuda", {"cuda": ("1",)}),
        ("cuda:0+2,cpu", "cuda,cpu", {"cuda": ("0", "2")}),
        ("rocm:GPU-0f3a", "rocm", {"rocm": ("GPU-0f3a",)}),
    ],
)
def test_a_device_is_named_by_index_or_uuid(text, kinds, asked):
    assert named(text) == (kinds, asked)


@pytest.mark.parametrize("text", ["cpu:0", "auto:1", "cuda:", "cuda:0+"])
def test_what_has_no_numbers_cannot_be_chosen_by_number(text):
    with pytest.raises(UsageError, match="KIND:INDEX"):
        named(text)


def test_a_cell_gets_the_first_devices_and_the_environment_here_stays(gpus):
    mine = share("cuda", [], 1)
    assert mine.env == {"CUDA_VISIBLE_DEVICES": "0"}
    assert share("cuda", [], 2).env == {"CUDA_VISIBLE_DEVICES": "0,1"}
    assert share("cuda", ["1"], 1).env == {"CUDA_VISIBLE_DEVICES": "1"}
    assert share("cuda", [SECOND.lower()], 1).devices[0].uuid == SECOND
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_it_never_gets_more_than_this_process_may_see(gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert share("cuda", [], 2).tokens == ("1",)
    with pytest.raises(UsageError, match="hidden by CUDA_VISIBLE_DEVICES=1"):
        share("cuda", ["0"], 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1,0")  # CUDA stops at what it does not know
    assert share("cuda", [], 2).tokens == ()


def test_a_device_that_is_not_there_names_those_that_are(gpus):
    with pytest.raises(UsageError, match=r"cuda:7 is none of .* 0 \(NVIDIA H200, GPU-5fc1"):
        share("cuda", ["7"], 1)


def test_a_cpu_cell_sees_no_accelerator():
    assert share("cpu", [], 1).env == {
        "CUDA_VISIBLE_DEVICES": "",
        "ROCR_VISIBLE_DEVICES": "",
        "TPU_VISIBLE_CHIPS": "",
    }


def test_where_nobody_can_read_the_devices_the_choice_is_passed_on(monkeypatch):
    def fails():
        raise Unreadable("NVML: no library")

    monkeypatch.setattr(nvidia, "devices", fails)
    assert share("cuda", ["1", "0"], 1) == Share("cuda", ("1",), unread="NVML: no library")
    assert share("cuda", [], 1).env == {}


# -- the best that each backend has


def test_auto_asks_each_backend_and_says_what_it_took(gpus, monkeypatch):
    answers = {"torch": Answer(("cpu", "cuda"), ""), "deepspeed": Answer(("cpu",), "not compiled")}
    monkeypatch.setattr(auto.machine, "likely_device", lambda: "cuda")
    monkeypatch.setattr(auto.envs, "resolve", lambda *_, **__: SimpleNamespace(python=None))
    monkeypatch.setattr(auto, "ask", lambda cell, python, mine: answers[cell.backend])
    said: list[str] = []
    found = auto.devices(
        ["torch", "deepspeed", "mxnet"],
        pythons={},
        brought={"deepspeed"},
        asked={"cuda": ("1",)},
        say=said.append,
    )
    assert found == {"torch": "cuda", "deepspeed": "cpu", "mxnet": "cpu"}
    assert said == [
        "torch: --device auto takes cuda (NVIDIA H200)",
        "deepspeed: --device auto takes cpu (not compiled)",
        f"mxnet: --device auto takes cpu ({unlocked('mxnet', 'cuda', BACKENDS['mxnet'])})",
    ]


def test_auto_asks_nobody_where_the_machine_has_no_device(monkeypatch):
    monkeypatch.setattr(auto.machine, "likely_device", lambda: "cpu")
    found = auto.devices(["torch", "jax"], pythons={}, brought=(), asked={}, say=pytest.fail)
    assert found == {"torch": "cpu", "jax": "cpu"}


# -- a run's devices


def cuda_cell(**changes):
    return replace(question("torch", "cuda"), **changes)


def test_a_run_is_refused_on_a_busy_device_unless_it_is_allowed(gpus):
    gpus[0].users = [(4711, None)]
    with pytest.raises(UsageError, match=r"4711 .*--device cuda:INDEX.*--allow-busy"):
        Devices().check([cuda_cell()])
    Devices({"cuda": ("1",)}).check([cuda_cell()])
    Devices(allow_busy=True).check([cuda_cell()])


def test_a_device_that_became_busy_is_no_measurement(gpus, monkeypatch):
    monkeypatch.setattr(choose.time, "sleep", lambda _: None)
    monkeypatch.setattr(choose.time, "monotonic", iter(range(0, 10**6, 100)).__next__)
    gpus[0].users = [(4711, None)]
    with pytest.raises(EnvError, match=r"used by process 4711"):
        Devices().gauge(cuda_cell())


def test_a_backend_is_asked_once_and_too_few_devices_are_said(gpus, monkeypatch):
    asked: list[str] = []

    def answer(cell, python, mine, *, deadline_s):
        asked.append(cell.backend)
        return Answer(("cpu", "cuda"), "")

    monkeypatch.setattr("bench.accelerators.devices.ask", answer)
    run = Devices()
    place = SimpleNamespace(python=None)
    assert run.lacks(cuda_cell(), lambda *_: place) is None
    assert run.lacks(cuda_cell(world_size=2), lambda *_: place) is None
    assert run.lacks(cuda_cell(world_size=3), lambda *_: place) == (
        "world size 3: there are 2 devices"
    )
    assert run.lacks(cuda_cell(device="cpu"), pytest.fail) is None
    assert asked == ["torch"]


def test_idle_power_is_the_least_that_was_seen_before_a_cell(gpus):
    run = Devices()
    drawn = []
    for milliwatts in (90_000, 75_000, 130_000):
        gpus[0].milliwatts = milliwatts
        drawn.append(run.gauge(cuda_cell()).idle_w)
    assert drawn == [90.0, 75.0, 75.0]


# -- busy


def test_a_free_device_is_not_busy(gpus):
    assert busy(share("cuda", [], 2), patience_s=0) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"users": [(4711, 2048 * MIB)]}, "process 4711 (/usr/bin/python-4711), 2048 MiB"),
        ({"users": [(4711, None)]}, "process 4711 (/usr/bin/python-4711)"),
        ({"busy": 60}, "computes 60% of the time"),
        ({"used": 20_000 * MIB}, "20000 MiB of NVIDIA H200 (index 0) are in use"),
    ],
)
def test_a_busy_device_says_who_uses_it(gpus, change, said):
    for key, value in change.items():
        setattr(gpus[0], key, value)
    assert said in busy(share("cuda", [], 1), patience_s=0)
    assert busy(share("cuda", ["1"], 1), patience_s=0) == ""


def test_the_doctor_lists_every_device_and_who_uses_it(gpus):
    gpus[1].users = [(4711, None)]
    free, used = doctor._each("cuda")
    assert (free.what, free.mend) == ("accelerator cuda:0", "")
    assert free.state == f"NVIDIA H200, 143771 MiB, {FIRST}"
    assert "process 4711" in used.state
    assert used.mend


def test_what_was_just_killed_is_waited_for(gpus, monkeypatch):
    gpus[0].users = [(4711, None)]
    monkeypatch.setattr(choose.time, "sleep", lambda _: gpus[0].users.clear())
    assert busy(share("cuda", [], 1), patience_s=60) == ""


# -- what a cell does to them


def test_a_row_says_what_the_cell_did_to_its_device(gpus):
    gauge = Gauge(share("cuda", [], 1), idle_w=75.0)
    gpus[0].users = [(12, 700 * MIB)]
    gauge.look([12], context=True)
    gpus[0].users = [(12, 5000 * MIB), (99, 3000 * MIB)]
    gauge.look([12])

    def run():
        gpus[0].millijoules += 600_000
        gpus[0].capped_ns += 2_000_000_000
        gpus[0].clocks, gpus[0].milliwatts = 1980, 690_000
        return [4_000_000_000]

    gauge.timed(run)
    gpus[0].clocks = 345  # and asleep again before the row is made
    row = gauge.columns()
    assert (row["context_mib"], row["peak_driver_mib"]) == (700, 5000)
    assert (row["device_name"], row["driver"]) == ("NVIDIA H200", "580.159.04")
    assert row["energy_above_idle_j"] == pytest.approx(row["energy_j"] - 75.0 * 4.0)
    (device,) = row["accelerators"]
    assert device["before"]["core_mhz"] == 345
    assert device["after"]["core_mhz"] == 1980
    assert device["throttled_s"] == {"power": 2.0, "thermal": 0.0}
    assert device["uuid"] == FIRST


def test_energy_is_that_of_the_timed_blocks_alone(gpus, monkeypatch):
    """Of ten seconds eight were timed; the other two drew as much."""
    clock = iter([100.0, 110.0])
    monkeypatch.setattr("bench.accelerators.gauge.time.perf_counter", lambda: next(clock))
    gauge = Gauge(share("cuda", [], 1))

    def run():
        gpus[0].millijoules += 5_000_000
        return [3_000_000_000, 5_000_000_000]

    gauge.timed(run)
    assert gauge.columns()["energy_j"] == pytest.approx(4000.0)


def test_energy_of_several_devices_is_added(gpus):
    gauge = Gauge(share("cuda", [], 2))
    assert gauge._energy_j() == 2000.0
    gauge.timed(lambda: [1])
    assert gauge.columns()["energy_source"] == "counter"


COUNTER = "nvmlDeviceGetTotalEnergyConsumption"


def test_without_a_counter_power_is_integrated_over_the_blocks(gpus, monkeypatch):
    """200 W, then 400 W after the first of ten seconds: 300 + 9 x 400 J, of which 8 s are timed."""
    clock = iter([0.0, 0.0, 1.0, 10.0, 10.0])
    monkeypatch.setattr("bench.accelerators.gauge.time.perf_counter", lambda: next(clock))
    monkeypatch.setattr(power.threading.Thread, "start", lambda _: None)
    monkeypatch.setattr(power.threading.Thread, "join", lambda _: None)
    gpus[0].lacks = frozenset({COUNTER})
    gpus[0].milliwatts = 200_000
    gauge = Gauge(share("cuda", [], 1), idle_w=75.0)
    taken: list[power.Watched] = []
    monkeypatch.setattr(power, "Watched", lambda read: taken.append(Watched(read)) or taken[-1])

    def run():
        gpus[0].milliwatts = 400_000
        taken[0]._take()  # as its thread does every tenth of a second
        return [8_000_000_000]

    gauge.timed(run)
    row = gauge.columns()
    assert row["energy_j"] == pytest.approx((300 + 9 * 400) * 0.8)
    assert row["energy_above_idle_j"] == pytest.approx(row["energy_j"] - 75.0 * 8.0)
    assert row["energy_source"] == "power"


def test_power_is_read_by_a_thread_while_a_worker_is_waited_for(monkeypatch):
    monkeypatch.setattr(power, "INTERVAL_S", 0.0)
    often = threading.Event()
    reads = []

    def read():
        reads.append(threading.current_thread())
        if len(reads) > 3:
            often.set()
        return 100.0

    with Watched(read) as watched:
        assert often.wait(60)
    assert reads[0] is reads[-1] is threading.current_thread()
    assert reads[1] is not threading.current_thread()
    seconds = watched.samples[-1][0] - watched.samples[0][0]
    assert power.joules(watched.samples) == pytest.approx(100.0 * seconds)


@pytest.mark.parametrize(
    ("samples", "joules"),
    [
        ([], None),
        ([(0.0, 100.0)], None),
        ([(0.0, 100.0), (1.0, None), (2.0, 100.0)], None),  # it stopped telling: nothing is known
        ([(0.0, 100.0), (2.0, 300.0)], 400.0),
        ([(5.0, 100.0), (6.0, 100.0), (6.5, 300.0)], 200.0),
    ],
)
def test_energy_is_the_area_below_the_power(samples, joules):
    assert power.joules(samples) == joules


def test_a_device_that_tells_neither_energy_nor_power_leaves_them_empty(gpus):
    gpus[1].lacks = frozenset({COUNTER, "nvmlDeviceGetPowerUsage"})
    gauge = Gauge(share("cuda", [], 2))
    gauge.timed(lambda: [1])
    row = gauge.columns()
    assert (row["energy_j"], row["energy_source"]) == (None, "")
    assert "energy_above_idle_j" not in row


def test_energy_of_some_blocks_is_not_energy_of_all(gpus):
    gauge = Gauge(share("cuda", [], 1))
    gauge.timed(lambda: [1])
    gpus[0].lacks = frozenset({COUNTER, "nvmlDeviceGetPowerUsage"})
    gauge.timed(lambda: [1])
    assert gauge.columns()["energy_j"] is None


def test_a_driver_that_goes_away_meanwhile_ends_no_run(gpus, monkeypatch):
    gauge = Gauge(share("cuda", [], 1))
    gauge.look([12])
    monkeypatch.setattr(nvidia.pynvml, "nvmlDeviceGetHandleByUUID", lost)
    gauge.look([12])
    gauge.timed(lambda: [1])
    assert "GPU is lost" in gauge.columns()["accelerators"][0]["unread"]


def lost(_uuid):
    raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)


def test_where_processes_cannot_be_told_apart_the_rise_of_the_device_counts(gpus):
    gauge = Gauge(share("cuda", [], 1))
    gpus[0].used += 4000 * MIB
    gpus[0].users = [(31_337, 4000 * MIB)]  # a process id of the host's
    gauge.look([12])
    assert gauge.peak_mib == 4000


def test_on_the_cpu_there_is_nothing_to_say():
    gauge = Gauge(share("cpu", [], 1))
    gauge.look([12])
    gauge.timed(lambda: [1])
    assert gauge.columns() == {}


def test_devices_that_cannot_be_read_say_why(monkeypatch):
    gauge = Gauge(Share("cuda", None, unread="NVML: no library"))
    assert gauge.columns()["accelerators"] == [{"unread": "NVML: no library"}]
    assert gauge.columns()["energy_j"] is None


def test_several_devices_keep_their_order(gpus):
    gpus[1].clocks = 1980
    gauge = Gauge(share("cuda", [], 2))
    clocks = [one["before"]["core_mhz"] for one in gauge.columns()["accelerators"]]
    assert clocks == [345, 1980]
