"""AMD's devices, through AMD SMI (the package amdsmi, or the one that ROCm brought).

The package is a wrapper: ROCm's own libamd_smi.so must be on the machine. An answer that a device
does not have is "N/A", or an error of that one call.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

from bench.accelerators.facts import MIB, Accelerator, Reading, Unreadable, User

VISIBLE = "ROCR_VISIBLE_DEVICES"

REASONS = {"power": "ppt_pwr", "thermal": "socket_thrm", "memory thermal": "hbm_thrm"}
"""Violations by which the firmware slows a device down. Their counters count its samples, which are
no seconds, so only the shares of the last interval are used."""


def devices() -> list[Accelerator]:
    """Every GPU, in the order that HIP counts them in."""
    smi = _library()
    try:
        return sorted((_gpu(smi, one) for one in _handles(smi)), key=lambda gpu: gpu.index)
    except smi.AmdSmiException as error:
        raise Unreadable(f"AMD SMI: {error}") from error


def reading(one: Accelerator) -> Reading:
    smi = _library()
    handle = _handle(smi, one)
    memory = _ask(smi.amdsmi_get_gpu_vram_usage, handle)
    cap = _ask(smi.amdsmi_get_power_cap_info, handle)
    errors = _ask(smi.amdsmi_get_gpu_total_ecc_count, handle)
    violations = _ask(smi.amdsmi_get_violation_status, handle)
    hot, now = smi.AmdSmiTemperatureType.HOTSPOT, smi.AmdSmiTemperatureMetric.CURRENT
    return Reading(
        used_mib=_number(memory, "vram_used"),  # already in MiB, unlike a process's
        busy=_scaled(_number(_ask(smi.amdsmi_get_gpu_activity, handle), "gfx_activity"), 1e-2),
        core_mhz=_clock(smi, handle, smi.AmdSmiClkType.GFX),
        memory_mhz=_clock(smi, handle, smi.AmdSmiClkType.MEM),
        power_w=power_w(one),
        # In microwatts, unlike all other powers (amdsmi_power_cap_info_t).
        power_limit_w=_scaled(_number(cap, "power_cap"), 1e-6),
        temperature_c=_ask(smi.amdsmi_get_temp_metric, handle, hot, now),
        ecc_errors=None if errors is None else errors["uncorrectable_count"],
        throttled=_throttled(violations),
        users=_users(smi, handle),
    )


def power_w(one: Accelerator) -> float | None:
    """Instinct devices answer in the one, others in the other."""
    smi = _library()
    power = _ask(smi.amdsmi_get_power_info, _handle(smi, one))
    return _number(power, "current_socket_power") or _number(power, "average_socket_power")


def energy_j(one: Accelerator) -> float | None:
    """Ticks of the accumulator times what one is worth, in microjoules."""
    smi = _library()
    count = _ask(smi.amdsmi_get_energy_count, _handle(smi, one))
    if not count or not count["energy_accumulator"]:
        return None
    return float(count["energy_accumulator"]) * float(count["counter_resolution"]) / 1e6


@cache
def _library() -> Any:
    """The module, opened once; importing it loads ROCm's library, which may be missing."""
    try:
        smi = importlib.import_module("amdsmi")
    except (ImportError, OSError, KeyError) as error:
        raise Unreadable(f"AMD SMI: {error}") from error
    try:
        smi.amdsmi_init()
    except smi.AmdSmiException as error:
        raise Unreadable(f"AMD SMI: {error}") from error
    return smi


def _handles(smi: Any) -> list[Any]:
    handles: list[Any] = smi.amdsmi_get_processor_handles()
    return handles


def _gpu(smi: Any, handle: Any) -> Accelerator:
    numbers = smi.amdsmi_get_gpu_enumeration_info(handle)
    partition = _ask(smi.amdsmi_get_gpu_compute_partition, handle) or ""
    return Accelerator(
        index=int(numbers["hip_id"]),
        uuid=numbers["hip_uuid"],
        token=numbers["hip_uuid"],
        name=smi.amdsmi_get_gpu_asic_info(handle)["market_name"],
        memory_mib=smi.amdsmi_get_gpu_vram_usage(handle)["vram_total"],
        driver=smi.amdsmi_get_gpu_driver_info(handle)["driver_version"],
        partition="" if partition in ("N/A", "SPX") else partition,  # SPX: one whole device
    )


def _handle(smi: Any, one: Accelerator) -> Any:
    for handle in _handles(smi):
        if smi.amdsmi_get_gpu_enumeration_info(handle)["hip_uuid"] == one.uuid:
            return handle
    raise Unreadable(f"AMD SMI: {one.name} ({one.uuid}) is not there any more")


def _ask(call: Callable[..., Any], *arguments: Any) -> Any:
    """What AMD SMI answers; None where it raises, for each device knows other things."""
    try:
        return call(*arguments)
    except _library().AmdSmiLibraryException:
        return None


def _number(answer: dict[str, Any] | None, key: str) -> float | None:
    value = None if answer is None else answer.get(key)
    return value if isinstance(value, int | float) else None


def _scaled(value: float | None, by: float) -> float | None:
    return None if value is None else value * by


def _clock(smi: Any, handle: Any, kind: Any) -> float | None:
    return _number(_ask(smi.amdsmi_get_clock_info, handle, kind), "clk")


def _throttled(violations: dict[str, Any] | None) -> tuple[str, ...]:
    return tuple(why for why, key in REASONS.items() if _number(violations, f"per_{key}"))


def _users(smi: Any, handle: Any) -> tuple[User, ...]:
    listed = _ask(smi.amdsmi_get_gpu_process_list, handle) or []
    found = []
    for one in listed:
        vram = one["memory_usage"]["vram_mem"]
        name = "" if one["name"] == "N/A" else one["name"]
        found.append(User(one["pid"], name, vram / MIB))
    return tuple(found)
