"""NVML as a machine with GPUs answers it: the real module's own structures, errors and constants,
with the values in the units of NVIDIA's reference (bytes, milliwatts, millijoules, nanoseconds).
"""

# ruff: noqa: N802 - the names are NVML's
from __future__ import annotations

from dataclasses import dataclass, field

import pynvml


@dataclass
class Gpu:
    """One fake GPU. ``lacks``: the calls that it does not support."""

    uuid: str
    name: str = "NVIDIA H200"
    total: int = 143_771 << 20
    used: int = 600 << 20
    busy: int = 0
    clocks: int = 345
    milliwatts: int = 75_000
    millijoules: int = 1_000_000
    reasons: int = pynvml.nvmlClocksThrottleReasonGpuIdle
    capped_ns: int = 0
    users: list[tuple[int, int | None]] = field(default_factory=list)
    lacks: frozenset[str] = frozenset()
    parts: list[Gpu] = field(default_factory=list)


class FakeNvml:
    """Put its methods in place of the module's functions with ``install``."""

    def __init__(self, *gpus: Gpu) -> None:
        self.gpus = gpus

    def install(self, monkeypatch) -> FakeNvml:
        for name in dir(self):
            if name.startswith("nvml"):
                monkeypatch.setattr(pynvml, name, self._answer(name))
        return self

    def _answer(self, name):
        call = getattr(self, name)

        def answer(*arguments):
            if arguments and name in getattr(arguments[0], "lacks", ()):
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return call(*arguments)

        answer.__name__ = name
        return answer

    def nvmlInit(self):
        return None

    def nvmlDeviceGetCount(self):
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):
        return self.gpus[index]

    def nvmlDeviceGetHandleByUUID(self, uuid):
        every = [one for gpu in self.gpus for one in (gpu, *gpu.parts)]
        for one in every:
            if one.uuid == uuid:
                return one
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    def nvmlDeviceGetUUID(self, gpu):
        return gpu.uuid

    def nvmlDeviceGetName(self, gpu):
        return gpu.name

    def nvmlSystemGetDriverVersion(self):
        return "580.159.04"

    def nvmlDeviceGetMemoryInfo(self, gpu):
        return pynvml.c_nvmlMemory_t(gpu.total, gpu.total - gpu.used, gpu.used)

    def nvmlDeviceGetUtilizationRates(self, gpu):
        return pynvml.c_nvmlUtilization_t(gpu.busy, 0)

    def nvmlDeviceGetClockInfo(self, gpu, kind):
        return gpu.clocks if kind == pynvml.NVML_CLOCK_SM else 3201

    def nvmlDeviceGetPowerUsage(self, gpu):
        return gpu.milliwatts

    def nvmlDeviceGetEnforcedPowerLimit(self, gpu):
        return 700_000

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu):
        return gpu.millijoules

    def nvmlDeviceGetTemperature(self, gpu, sensor):
        return 31

    def nvmlDeviceGetEccMode(self, gpu):
        return [pynvml.NVML_FEATURE_ENABLED, pynvml.NVML_FEATURE_ENABLED]

    def nvmlDeviceGetTotalEccErrors(self, gpu, kind, since):
        return 0

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, gpu):
        return gpu.reasons

    def nvmlDeviceGetViolationStatus(self, gpu, policy):
        power = policy == pynvml.NVML_PERF_POLICY_POWER
        return pynvml.c_nvmlViolationTime_t(0, gpu.capped_ns if power else 0)

    def nvmlDeviceGetComputeRunningProcesses(self, gpu):
        infos = [pynvml.c_nvmlProcessInfo_v3_t(pid, used or 0, 0, 0) for pid, used in gpu.users]
        found = [pynvml.nvmlStructToFriendlyObject(info) for info in infos]
        for one, (_, used) in zip(found, gpu.users, strict=True):
            one.usedGpuMemory = used
        return found

    def nvmlSystemGetProcessName(self, pid):
        return f"/usr/bin/python-{pid}"

    def nvmlDeviceGetMigMode(self, gpu):
        mode = pynvml.NVML_DEVICE_MIG_ENABLE if gpu.parts else pynvml.NVML_DEVICE_MIG_DISABLE
        return [mode, mode]

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu):
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu, index):
        if index >= len(gpu.parts):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return gpu.parts[index]
