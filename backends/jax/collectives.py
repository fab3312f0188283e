"""A sum over JAX's devices by itself. Keras on JAX uses it too, so flax is not imported here."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from bench.contract import Cell, Kernel

AXIS = "data"


def allreduce(cell: Cell, n: int) -> Kernel | None:
    """Sums n float32 numbers over the cell's devices, each of which has n of its own."""
    if cell.world_size == 1:
        return None
    mesh = jax.make_mesh((cell.world_size,), (AXIS,), axis_types=(AxisType.Auto,))
    divided = NamedSharding(mesh, P(AXIS))
    numbers = jax.jit(lambda: jnp.ones((cell.world_size, n)), out_shardings=divided)()
    added = jax.shard_map(
        lambda part: jax.lax.psum(part, AXIS), mesh=mesh, in_specs=P(AXIS), out_specs=P()
    )
    add = jax.jit(added)
    return Kernel(lambda: add(numbers), jax.block_until_ready)
