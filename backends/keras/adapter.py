"""Keras: ``compile`` and ``fit`` on the engine that the cell asks for, jax unless it does."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")  # Keras reads it once, when it is imported

import keras
from keras import ops

from backends import answers
from backends.keras import attention, exports, models, parallel, programs, recompute
from backends.keras.engines import ENGINES, engine
from backends.keras.programs import DTYPES, Inference, Training
from bench import contract
from bench.contract import GENERATE, Batches, Cell, Kernel, Program, Settings, Weights

NAME = "keras"
DIST = "keras"
launch = contract.one_process
allreduce = parallel.allreduce

POLICIES = {"fp32": "float32", "tf32": "float32", "bf16": "mixed_bfloat16", "fp16": "mixed_float16"}
SERVED = {**POLICIES, "bf16": "bfloat16", "fp16": "float16", "int8": "float32"}
"""Weights and cache are of that type, too; ``quantize`` makes int8 of a float32 model."""


def devices() -> list[str]:
    """What the engine has."""
    return list(engine().devices())


def absent(device: str) -> str:
    """What the engine says where it is asked for a device that it has not."""
    return answers.said(lambda: engine().ask_for(device))


def unsupported(cell: Cell) -> str | None:
    """The first reason why the cell cannot be run, in words."""
    found = answers.precision(cell, "Keras") or _precision(cell) or _mode(cell) or _devices(cell)
    # Statistics are of all samples on JAX's devices already.
    return found or answers.recompute(cell) or answers.batchnorm(cell)


def _precision(cell: Cell) -> str | None:
    if cell.precision == "int8" and cell.role != GENERATE:
        return "Keras's quantize('int8') changes dense layers only: convolutions stay float32"
    if cell.precision not in SERVED:
        return f"Keras has no dtype policy for precision {cell.precision!r}"
    on_jax = cell.device == "cpu" and cell.settings.get("keras_backend", "jax") == "jax"
    if cell.precision == "fp16" and cell.model != "cnn" and on_jax:
        return "XLA on a CPU has no F16_F16_F32 product, which Keras's attention on jax asks for"
    return None


def _mode(cell: Cell) -> str | None:
    name = cell.settings.get("keras_backend", "jax")
    if cell.mode not in ENGINES[name].modes:
        return f"Keras on {name} has no {cell.mode} mode: it is {' or '.join(ENGINES[name].modes)}"
    return None


def _devices(cell: Cell) -> str | None:
    name = cell.settings.get("keras_backend", "jax")
    if cell.world_size > 1 and name != "jax":
        return f"keras.distribution is written for jax: on {name} it divides nothing"
    return None


def setup(cell: Cell) -> None:
    asked, running = cell.settings.get("keras_backend", "jax"), keras.backend.backend()
    assert asked == running, f"$KERAS_BACKEND made Keras run on {running}, not on {asked}"
    engine().set_threads(cell.threads)
    parallel.start(cell)
    if cell.device != "cpu":
        engine().set_tf32(on=cell.precision == "tf32")
    policies = SERVED if cell.role == GENERATE else POLICIES
    keras.config.set_dtype_policy(policies[cell.precision])


def effective(cell: Cell) -> Settings:
    """What is in force, read back from Keras and its engine."""
    product = keras.layers.Dense(2, name="probe")(ops.ones((2, 2)))
    return {
        **engine().threads(),
        "matmul_dtype": keras.backend.standardize_dtype(product.dtype),
        "dtype_policy": keras.config.dtype_policy().name,
        "tf32": cell.device != "cpu" and engine().tf32(),
        "keras_backend": keras.backend.backend(),
        "keras_backend_version": engine().tool.__version__,
    }


def build(cell: Cell, weights: Weights, batches: Batches) -> Program:
    how = {"square": attention.square(cell), "around": recompute.around(cell)}
    model = models.make(cell.dims, **how)
    models.load_weights(model, weights)
    return Training(cell, model, batches) if cell.trains else Inference(cell, model, batches)


def export(cell: Cell, program: Program, path: Path) -> Settings:
    assert isinstance(program, Inference)
    return exports.write(cell, program.model, path)


def check(cell: Cell, path: Path) -> None:
    """Raise with Keras's words if the file is not a valid model. Only ``native`` is Keras's."""
    exports.read(path)


def load(cell: Cell, path: Path, batches: Batches) -> Program:
    return Inference(cell, exports.read(path), batches)


def gemm(cell: Cell, precision: str, n: int) -> Kernel | None:
    if precision not in DTYPES or (precision == "tf32" and cell.device != "cuda"):
        return None
    return programs.matmul(cell, precision, n)


def stream(cell: Cell, n: int) -> Kernel:
    return programs.stream(n)


def peak_device_bytes(cell: Cell) -> int | None:
    return None if cell.device == "cpu" else engine().device_bytes("peak")
