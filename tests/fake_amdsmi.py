"""The module ``amdsmi`` as a machine with GPUs answers it: dictionaries in the forms and units of
AMD SMI's Python reference (MB of VRAM, bytes a process, W, microjoules a tick, a cap's microwatts).
"""

from __future__ import annotations

from types import SimpleNamespace


class AmdSmiException(Exception):
    pass


class AmdSmiLibraryException(AmdSmiException):
    pass


AmdSmiTemperatureType = SimpleNamespace(HOTSPOT="hotspot")
AmdSmiTemperatureMetric = SimpleNamespace(CURRENT="current")
AmdSmiClkType = SimpleNamespace(GFX="gfx", MEM="mem")

HANDLES = ["second", "first"]  # the bus's order need not be HIP's
USERS: list[dict[str, object]] = []
ENERGY = {"energy_accumulator": 2_000_000, "counter_resolution": 15.259, "timestamp": 1}


def amdsmi_init():
    return None


def amdsmi_get_processor_handles():
    return HANDLES


def amdsmi_get_gpu_enumeration_info(handle):
    at = {"first": 0, "second": 1}[handle]
    return {
        "drm_render": 128 + at,
        "drm_card": at,
        "hsa_id": at + 2,
        "hip_id": at,
        "hip_uuid": f"GPU-{at}f3a9c0de1b2c3d4",
    }


def amdsmi_get_gpu_asic_info(handle):
    return {"market_name": "AMD Instinct MI300X", "vendor_name": "Advanced Micro Devices Inc"}


def amdsmi_get_gpu_vram_usage(handle):
    return {"vram_total": 196_592, "vram_used": 300}


def amdsmi_get_gpu_driver_info(handle):
    return {"driver_name": "amdgpu", "driver_version": "6.14.14", "driver_date": "N/A"}


def amdsmi_get_gpu_compute_partition(handle):
    return "SPX"


def amdsmi_get_power_info(handle):
    return {"current_socket_power": 142, "average_socket_power": "N/A", "power_limit": 750}


def amdsmi_get_power_cap_info(handle):
    return {"power_cap": 750_000_000, "default_power_cap": 750_000_000, "dpm_cap": 2100}


def amdsmi_get_gpu_activity(handle):
    return {"gfx_activity": 37, "umc_activity": 2, "mm_activity": "N/A"}


def amdsmi_get_gpu_total_ecc_count(handle):
    return {"correctable_count": 1, "uncorrectable_count": 0, "deferred_count": 0}


def amdsmi_get_violation_status(handle):
    return {"acc_counter": 900, "per_ppt_pwr": 12, "per_socket_thrm": 0, "per_hbm_thrm": "N/A"}


def amdsmi_get_temp_metric(handle, sensor, metric):
    return 44


def amdsmi_get_clock_info(handle, kind):
    if kind == AmdSmiClkType.MEM:
        raise AmdSmiLibraryException("AMDSMI_STATUS_NOT_SUPPORTED")
    return {"clk": 132, "min_clk": 132, "max_clk": 2100, "clk_locked": "N/A"}


def amdsmi_get_gpu_process_list(handle):
    return USERS


def amdsmi_get_energy_count(handle):
    return ENERGY
