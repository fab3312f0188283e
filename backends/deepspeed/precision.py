"""What a DeepSpeed engine multiplies in, adds up and scales the loss by."""

from __future__ import annotations

from typing import Any

import torch
from deepspeed.runtime.torch_autocast import autocast_if_enabled

from backends.torch.placing import device
from backends.torch.precision import dtypes, product
from bench.contract import Cell, Settings


def facts(cell: Cell, engine: Any) -> Settings:
    """The fact ``dtypes`` once there was a step, and the scale of the loss where there is one."""
    found: Settings = {}
    if (scaler := _scaler(engine)) is not None:
        found["loss_scale"] = scaler.get_scale()
    if engine.global_steps:
        computed = product(device(cell), autocast_if_enabled(engine))
        known = {"compute": [computed], "reduce": _reduced(engine)}
        found |= dtypes(engine.module, engine.basic_optimizer, **known)
    return found


def _scaler(engine: Any) -> Any:
    """The engine keeps it at ZeRO's stage 0, else ZeRO's optimizer; it has no public name."""
    of_stage_0 = engine.torch_autocast_z0_gradscaler
    return of_stage_0 or getattr(engine.optimizer, "torch_autocast_gradscaler", None)


def _reduced(engine: Any) -> list[torch.dtype]:
    """ZeRO has a bucket for each type in which it adds gradients up; stage 0 has one type."""
    return list(getattr(engine.optimizer, "ipg_buckets", [engine.communication_data_type]))
