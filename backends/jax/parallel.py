"""Two devices of one process: each has its part of a batch, and of the state where that is sharded.

As in JAX's tutorial "Introduction to parallel programming": arrays are placed on a mesh, and the
compiler divides the step accordingly. Its means run over the whole batch, BatchNorm's too.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
from flax import nnx
from jax.extend.backend import clear_backends
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from backends.jax.programs import Training
from bench.contract import Batches, Cell, Settings

SHARDED = "sharding"
"""The setting: parameters and moments are split over the devices."""
AXIS = "data"


def start(cell: Cell) -> None:
    """Let the host count as one device for each share of a batch."""
    if cell.device == "cpu" and cell.world_size > 1:
        clear_backends()
        jax.config.update("jax_num_cpu_devices", cell.world_size)


class Parallel(Training):
    """The same compiled step, over arrays that lie on several devices."""

    def __init__(self, cell: Cell, model: nnx.Module, batches: Batches) -> None:
        super().__init__(cell, model, batches)
        mesh = jax.make_mesh((cell.world_size,), (AXIS,), axis_types=(AxisType.Auto,))
        everywhere, by_sample = NamedSharding(mesh, P()), NamedSharding(mesh, P(AXIS))
        train = [next(self.batches) for _ in batches.train]
        self.batches = itertools.cycle(jax.device_put(train, by_sample))
        self.inputs = jax.device_put(self.inputs, everywhere)
        state = (*self.state, self.moments)
        if SHARDED in cell.settings:
            where = jax.tree.map(lambda array: NamedSharding(mesh, split(array, mesh.size)), state)
        else:
            where = everywhere
        self.params, self.kept, self.rest, self.moments = jax.device_put(state, where)

    def facts(self) -> Settings:
        facts = super().facts()
        if facts:
            state = jax.tree.leaves((self.params, self.kept, self.moments))
            divided = [array for array in state if not array.is_fully_replicated]
            facts["parallel"] = f"{len(jax.devices())} devices of one mesh"
            facts["sharded"] = len(divided)
        return facts


def split(array: Any, devices: int) -> P:
    """Over the first dimension that the devices divide; an array without one is on each."""
    for place, size in enumerate(array.shape):
        if size % devices == 0:
            return P(*[None] * place, AXIS)
    return P()
