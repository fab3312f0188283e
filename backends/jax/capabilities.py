"""What JAX is asked beside speed: checkpoints, shapes, files and exchange of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax import Array
from safetensors.flax import load_file

from backends.jax import models
from backends.jax.programs import DTYPES, Training
from backends.jax.split import Split, arrays
from bench.capabilities import Flexible
from bench.contract import INPUTS, Batch, Cell, Program, Weights
from bench.dims import EncoderDims

STATE = "state"
COMPILED = "/jax/core/compile/backend_compile_duration"
"""The event that ``jax.monitoring`` reports for each program that XLA has compiled."""


def save(program: Program, folder: Path) -> None:
    """Flax's "Save and load checkpoints", by Orbax: flax and optax have no files of their own."""
    assert isinstance(program, Training)
    with ocp.StandardCheckpointer() as checkpointer:  # it writes in the background until it closes
        checkpointer.save(folder / STATE, state(program))


def restore(program: Program, folder: Path) -> None:
    assert isinstance(program, Training)
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, state(program))
    with ocp.StandardCheckpointer() as checkpointer:
        found = checkpointer.restore(folder / STATE, abstract)
    program.params, program.rest = found["params"], found["rest"]
    program.moments = found["moments"]


def state(program: Training) -> dict[str, Any]:
    return {"params": program.params, "rest": program.rest, "moments": program.moments}


def flexible(cell: Cell, weights: Weights) -> Flexible:
    """``jax.export`` with symbolic dimensions, as in its page "Shape polymorphism".

    The program is traced once; what is counted is how often XLA compiles something of it.
    """
    model = models.make(cell.dims, weights, dtype=DTYPES.get(cell.precision))
    state = arrays(model)
    assert isinstance(cell.dims, EncoderDims)
    shape = jax.export.symbolic_shape("batch, sequence")
    inputs = (jax.ShapeDtypeStruct(shape, jnp.int32),) * 2
    exported = jax.export.export(jax.jit(Split(model).evaluate))(state, inputs)
    forward = jax.jit(exported.call)
    compiled: list[str] = []

    def notice(event: str, _seconds: float, **_: Any) -> None:
        if event == COMPILED:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(notice)

    def infer(batch: Batch) -> np.ndarray:
        # As numpy's arrays: placing them by jnp.array would compile a copy for each shape, too.
        given = tuple(batch[name].astype(np.int32) for name in INPUTS[cell.model])
        return np.asarray(forward(state, given), np.float32)

    return Flexible(infer, lambda: len(compiled))


def tensors(path: Path) -> Mapping[str, np.ndarray]:
    return {name: np.asarray(tensor) for name, tensor in load_file(path).items()}


def take(array: np.ndarray) -> Array:
    return jnp.from_dlpack(array)


def give(tensor: Array) -> Array:
    """An array has ``__dlpack__`` itself."""
    return tensor
