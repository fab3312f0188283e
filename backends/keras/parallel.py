"""Several devices of one process under ``keras.distribution``, as in Keras's guide "Distributed
training with Keras 3". Layers and ``fit`` know nothing of it.
"""

from __future__ import annotations

import keras
from keras import distribution

from backends.keras.engines import engine
from bench.contract import Cell, Kernel, Settings

SHARDED = "sharding"
"""The setting: parameters and moments are split over the devices."""
AXIS = "batch"
LAYOUTS = {
    r".*/embeddings": (AXIS, None),
    r".*/(query|key|value|attention_output)/kernel": (AXIS, None, None),
    r".*(dense|classifier)/kernel": (AXIS, None),
}
"""What is split, and along which dimension; all else is small, and each device has it whole."""


def start(cell: Cell) -> None:
    """Distribute all models that this process makes from now on."""
    if cell.world_size > 1:
        engine().set_devices(cell.world_size)
        distribution.set_distribution(chosen(cell))


def chosen(cell: Cell) -> distribution.Distribution:
    if SHARDED not in cell.settings:
        return distribution.DataParallel()
    devices = distribution.list_devices()
    mesh = distribution.DeviceMesh((len(devices),), [AXIS], devices)
    layouts = distribution.LayoutMap(mesh)
    for pattern, axes in LAYOUTS.items():
        layouts[pattern] = axes
    return distribution.ModelParallel(layout_map=layouts, batch_dim_name=AXIS)


def allreduce(cell: Cell, n: int) -> Kernel | None:
    """JAX's own sum: the other engines train on one device here."""
    if cell.world_size == 1:
        return None
    from backends.jax import collectives  # noqa: PLC0415  # imports jax, which others lack

    return collectives.allreduce(cell, n)


def facts(model: keras.Model) -> Settings:
    """The distribution in force, and what is split; nothing on one device."""
    asked = distribution.distribution()
    if asked is None:
        return {}
    engine().sync(model)  # during fit the values are fit's
    variables = [*model.variables, *model.optimizer.variables]
    divided = [one for one in variables if not one.value.is_fully_replicated]
    return {
        "parallel": f"{type(asked).__name__} on {asked.device_mesh.devices.size} devices",
        "sharded": len(divided),
    }
