"""Products of matrices and a stream of numbers, to know what the machine gives JAX."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from backends.jax.programs import DTYPES, PRODUCTS
from bench.contract import Cell, Kernel


def matmul(cell: Cell, precision: str, n: int) -> Kernel:
    """An n x n x n matrix product in one precision."""
    # Random: a GPU multiplies ones faster than real numbers, for it draws less power.
    values = np.random.default_rng(0).random((2, n, n), np.float32)
    left, right = jnp.array(values, DTYPES.get(precision, jnp.float32))
    exact = None if cell.device == "cpu" else PRODUCTS.get(precision)
    product = jax.jit(partial(jnp.matmul, precision=exact))
    return Kernel(lambda: product(left, right), jax.block_until_ready)


def stream(n: int) -> Kernel:
    """Adds 1 to n float32 numbers."""
    source = jnp.ones(n, jnp.float32)
    add = jax.jit(lambda values: values + 1)
    return Kernel(lambda: add(source), jax.block_until_ready)
