"""JAX: flax nnx models, optax updates, one jitted step that donates its state."""

from __future__ import annotations

import os
import re
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.extend.backend import clear_backends

from backends import answers
from backends.jax import (
    attention,
    collectives,
    exports,
    kernels,
    models,
    parallel,
    platforms,
    recompute,
)
from backends.jax.programs import DTYPES, PRODUCTS, Inference, Split, Training, arrays
from bench import contract
from bench.contract import Batches, Cell, Kernel, Program, Settings, Unsupported, Weights

NAME = "jax"
DIST = "jax"
launch = contract.one_process
allreduce = collectives.allreduce
devices = platforms.kinds

POOL = "tf_XLAEigen"
"""What XLA calls the threads that its operators run on."""


def absent(device: str) -> str:
    """What JAX says where it is asked for a device that it has not."""
    return answers.said(lambda: jax.devices(device))


def unsupported(cell: Cell) -> str | None:
    """The first reason why the cell cannot be run, in words."""
    found = answers.precision(cell, "JAX") or answers.recompute(cell)
    found = found or answers.batchnorm(cell)  # else it is so already
    return found or _precision(cell.precision, cell.device)


def _precision(precision: str, device: str) -> str | None:
    if precision == "int8":
        return "flax has no int8 inference of its own: its quantisers are the packages aqt and qwix"
    if precision == "fp16" and device == "cpu":
        return "XLA's CPU compiler has no fp16 arithmetic: it widens every product to float32"
    known = ("fp32", *DTYPES, *(("tf32",) if device == "cuda" else ()))
    return None if precision in known else f"this adapter has no precision {precision}"


def setup(cell: Cell) -> None:
    """XLA has no option for its threads: it starts one for each CPU that it is allowed to use."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < cell.threads:
        raise Unsupported(f"XLA takes a thread per CPU: {cell.threads} threads, {allowed} allowed")
    os.sched_setaffinity(0, allowed[: cell.threads])
    parallel.start(cell)
    if cell.device != "cpu":
        jax.config.update("jax_default_matmul_precision", PRODUCTS.get(cell.precision))
        return
    if threads() != cell.threads:
        clear_backends()  # the device was asked for before: its pool is of another size


def threads() -> int:
    """The size of XLA's pool, counted among this process's threads; its device is started."""
    jax.devices()
    return answers.thread_names().count(POOL)


def effective(cell: Cell) -> Settings:
    operand = jnp.ones((64, 64), DTYPES.get(cell.precision, jnp.float32))
    product = jax.jit(jnp.matmul).lower(operand, operand).compile()
    # The compiled product, whose operands are of the type that the arithmetic is done in.
    computes = re.search(r"= (\w+)\[64,64\]\S* dot\(", product.as_text())
    return {
        "threads": threads(),
        "matmul_dtype": str(product(operand, operand).dtype),
        "dot_computes_in": computes[1] if computes else None,
        "matmul_precision": jax.config.jax_default_matmul_precision,
        "device_kind": jax.devices()[0].device_kind,
        "x64": jax.config.jax_enable_x64,
        "compile_cache": jax.config.jax_compilation_cache_dir is not None,
    }


def build(cell: Cell, weights: Weights, batches: Batches) -> Program:
    model = models.make(cell.dims, weights, dtype=DTYPES.get(cell.precision))
    recompute.apply(cell, model)
    attention.apply(cell, model)
    if cell.world_size > 1:
        return parallel.Parallel(cell, model, batches)
    if cell.trains:
        return Training(cell, model, batches)
    return Inference(cell, arrays(model), batches, function=Split(model).evaluate)


def export(cell: Cell, program: Program, path: Path) -> Settings:
    assert isinstance(program, Inference)
    return exports.write(cell, program, path)


def check(cell: Cell, path: Path) -> None:
    """Raise with JAX's words if the file is not a valid program. Only ``native`` is JAX's."""
    exports.read(path)


def load(cell: Cell, path: Path, batches: Batches) -> Program:
    exported, state = exports.read(path)
    return Inference(cell, state, batches, function=exported.call)


def gemm(cell: Cell, precision: str, n: int) -> Kernel | None:
    return None if _precision(precision, cell.device) else kernels.matmul(cell, precision, n)


def stream(cell: Cell, n: int) -> Kernel:
    return kernels.stream(n)


def peak_device_bytes(cell: Cell) -> int | None:
    """Of the device that needed most; None on a CPU, whose memory XLA does not count."""
    return max((one["peak_bytes_in_use"] for one in platforms.memory_stats()), default=None)
