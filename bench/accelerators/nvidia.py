"""NVIDIA's devices, through NVML (nvidia-ml-py).

NVML counts in the order of the PCI bus, which CUDA_DEVICE_ORDER=PCI_BUS_ID makes CUDA's own. What
a device does not support is an error of one call, and then an empty fact.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pynvml

from bench.accelerators.facts import MIB, Accelerator, Reading, Unreadable, User

VISIBLE = "CUDA_VISIBLE_DEVICES"

REASONS = {
    "power cap": pynvml.nvmlClocksThrottleReasonSwPowerCap,
    "slowdown": pynvml.nvmlClocksThrottleReasonHwSlowdown,
    "thermal": pynvml.nvmlClocksThrottleReasonSwThermalSlowdown
    | pynvml.nvmlClocksThrottleReasonHwThermalSlowdown,
    "power brake": pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown,
    "application clocks": pynvml.nvmlClocksThrottleReasonApplicationsClocksSetting,
}
"""What slows a device down; being idle and waiting for others in a sync group do not."""

COUNTERS = {"power": pynvml.NVML_PERF_POLICY_POWER, "thermal": pynvml.NVML_PERF_POLICY_THERMAL}


def devices() -> list[Accelerator]:
    """Every GPU, or in its place the MIG instances that it is cut into."""
    _start()
    try:
        found = [_gpu(at) for at in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        raise Unreadable(f"NVML: {error}") from error
    return [one for gpu in found for one in _instances(gpu) or [gpu]]


def reading(one: Accelerator) -> Reading:
    handle = _handle(one)
    memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    rates = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
    reasons = _ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0
    return Reading(
        used_mib=None if memory is None else memory.used / MIB,
        busy=None if rates is None else rates.gpu / 100,
        core_mhz=_ask(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
        memory_mhz=_ask(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_MEM),
        power_w=power_w(one),
        power_limit_w=_milli(_ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)),
        temperature_c=_ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        ecc_errors=_ask(
            pynvml.nvmlDeviceGetTotalEccErrors,
            handle,
            pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
            pynvml.NVML_VOLATILE_ECC,
        ),
        throttled=tuple(reason for reason, bits in REASONS.items() if reasons & bits),
        throttled_s=_throttled_s(handle),
        users=_users(handle),
    )


def power_w(one: Accelerator) -> float | None:
    """Of the last second on average, from Ampere on but for GA100 (NVML's reference)."""
    return _milli(_ask(pynvml.nvmlDeviceGetPowerUsage, _handle(one)))


def energy_j(one: Accelerator) -> float | None:
    """Since the driver was loaded; None on MIG instances and on what came before Volta."""
    return _milli(_ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, _handle(one)))


@cache
def _start() -> None:
    """Open the library once; it stays open as long as this process lives."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise Unreadable(f"NVML: {error}") from error


def _gpu(index: int) -> Accelerator:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    ecc = _ask(pynvml.nvmlDeviceGetEccMode, handle)
    return Accelerator(
        index=index,
        uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
        # Not the UUID: DeepSpeed's and Paddle's launchers read whole numbers.
        token=str(index),
        name=_text(pynvml.nvmlDeviceGetName(handle)),
        memory_mib=pynvml.nvmlDeviceGetMemoryInfo(handle).total / MIB,
        driver=_text(pynvml.nvmlSystemGetDriverVersion()),
        ecc=None if ecc is None else bool(ecc[0]),
    )


def _instances(gpu: Accelerator) -> list[Accelerator]:
    """The MIG instances of a GPU; none where it is not cut. CUDA knows them by UUID only."""
    handle = _handle(gpu)
    mode = _ask(pynvml.nvmlDeviceGetMigMode, handle)
    if mode is None or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        return []
    most = _ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
    parts = [_ask(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, at) for at in range(most)]
    found = []
    for part in filter(None, parts):
        uuid = _text(pynvml.nvmlDeviceGetUUID(part))
        name = _text(pynvml.nvmlDeviceGetName(part))
        memory = pynvml.nvmlDeviceGetMemoryInfo(part).total / MIB
        profile = name.removeprefix(gpu.name).strip() or "MIG"
        found.append(Accelerator(gpu.index, uuid, uuid, name, memory, gpu.driver, profile, gpu.ecc))
    return found


def _handle(one: Accelerator) -> Any:
    _start()
    try:
        return pynvml.nvmlDeviceGetHandleByUUID(one.uuid)
    except pynvml.NVMLError as error:
        raise Unreadable(f"NVML: {one.name} ({one.uuid}): {error}") from error


def _ask(call: Callable[..., Any], *arguments: Any) -> Any:
    """What NVML answers; None where this device, or this driver, does not know it."""
    unknown = (
        pynvml.NVMLError_NotSupported,
        pynvml.NVMLError_NotFound,
        pynvml.NVMLError_NoPermission,
        pynvml.NVMLError_FunctionNotFound,
        pynvml.NVMLError_InvalidArgument,
    )
    try:
        return call(*arguments)
    except unknown:
        return None
    except pynvml.NVMLError as error:
        raise Unreadable(f"NVML: {call.__name__}: {error}") from error


def _throttled_s(handle: Any) -> dict[str, float]:
    counted = {
        reason: _ask(pynvml.nvmlDeviceGetViolationStatus, handle, policy)
        for reason, policy in COUNTERS.items()
    }
    # violationTime is in nanoseconds (NVML API reference, nvmlViolationTime_t).
    return {reason: one.violationTime / 1e9 for reason, one in counted.items() if one is not None}


def _users(handle: Any) -> tuple[User, ...]:
    found = []
    for one in _ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) or ():
        name = _ask(pynvml.nvmlSystemGetProcessName, one.pid)
        mib = None if one.usedGpuMemory is None else one.usedGpuMemory / MIB
        found.append(User(one.pid, _text(name or ""), mib))
    return tuple(found)


def _milli(value: float | None) -> float | None:
    return None if value is None else value / 1e3


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
