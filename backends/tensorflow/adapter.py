"""TensorFlow: Keras layers in a training loop of one's own: tf.function, GradientTape."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"  # Keras reads it once, when it is imported

import keras
import tensorflow as tf

from backends import answers
from backends.keras import models as keras_models
from backends.keras import recompute
from backends.ranks import synchronised
from backends.tensorflow import exports, lite, parallel, programs
from backends.tensorflow.lite import Lite
from backends.tensorflow.programs import DTYPES, Inference, Training, compiled
from bench import contract
from bench.contract import GENERATE, Batches, Cell, Kernel, Program, Settings, Weights

NAME = "tensorflow"
DIST = answers.distribution("tensorflow-cpu", "tensorflow")
launch = contract.one_process
allreduce = parallel.allreduce

POLICIES = {
    "fp32": "float32",
    "tf32": "float32",
    "bf16": "mixed_bfloat16",
    "fp16": "mixed_float16",
    "int8": "float32",  # what TFLite's converter and Keras's quantize take
}
SERVED = {**POLICIES, "bf16": "bfloat16", "fp16": "float16"}
"""Where weights and cache are of that type, too."""


@cache
def devices() -> list[str]:
    """``cpu``, and ``cuda`` where this build has it and finds one. Starts no device: ``setup``
    could not choose the threads any more.
    """
    gpu = tf.test.is_built_with_cuda() and tf.config.list_physical_devices("GPU")
    return ["cpu", "cuda"] if gpu else ["cpu"]


def absent(device: str) -> str:
    """What TensorFlow says of a device that it has not, when it may not take another one."""
    name = "TPU" if device == "tpu" else "GPU"
    tf.config.set_soft_device_placement(False)

    def place() -> None:
        with tf.device(f"/device:{name}:0"):
            tf.identity(1.0)

    return answers.said(place)


def unsupported(cell: Cell) -> str | None:
    """The first reason why the cell cannot be run, in words."""
    found = answers.precision(cell, "TensorFlow") or answers.recompute(cell) or _precision(cell)
    return found or _format(cell) or _served(cell) or _batchnorm(cell)


def _precision(cell: Cell) -> str | None:
    if cell.precision == "int8" and cell.role != GENERATE and cell.format != "tflite":
        return "TensorFlow's int8 is a conversion of its TFLite files, not a mode of its models"
    if cell.precision not in POLICIES:
        return f"Keras has no dtype policy for precision {cell.precision!r}"
    return None


def _served(cell: Cell) -> str | None:
    if parallel.SHARDED in cell.settings and cell.mode != "graph":
        # Compiled: "KernelAndDeviceOp does not support EagerFunctionParams".
        return "a coordinator has its workers run graphs: TensorFlow schedules nothing else there"
    if parallel.SHARDED in cell.settings and "recompute" in cell.settings:
        return (
            "tf.recompute_grad takes what it reads from a parameter server for a variable, and"
            " refuses it (Argument `variables` should be a non-empty list of `variables.Variable`s)"
        )
    return None


def _batchnorm(cell: Cell) -> str | None:
    if found := answers.batchnorm(cell):
        return found
    if synchronised(cell) and cell.mode == "compiled":
        return "XLA compiles what one replica computes: it has no sum over replicas within it"
    return None


def _format(cell: Cell) -> str | None:
    if cell.format == "tflite" and cell.precision in ("bf16", "fp16"):
        return f"TFLite's converter cannot translate the operators of a {cell.precision} model"
    if cell.format == "tflite" and cell.mode != "graph":
        return "LiteRT runs a file in one way only: the modes are TensorFlow's"
    if cell.format == "native" and cell.mode == "eager":
        return "a SavedModel holds graphs: TensorFlow runs nothing of it eagerly"
    return None


def setup(cell: Cell) -> None:
    if cell.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    parallel.start(cell)
    tf.config.threading.set_intra_op_parallelism_threads(cell.threads)
    # Replicas are operations of one graph: each needs a thread to run beside the others.
    tf.config.threading.set_inter_op_parallelism_threads(cell.world_size)
    tf.config.experimental.enable_tensor_float_32_execution(cell.precision == "tf32")
    policies = SERVED if cell.role == GENERATE else POLICIES
    keras.config.set_dtype_policy(policies[cell.precision])


def effective(cell: Cell) -> Settings:
    """What is in force, read back from TensorFlow and Keras."""
    product = keras.layers.Dense(2, name="probe")(tf.ones((2, 2)))
    return {
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "interop_threads": tf.config.threading.get_inter_op_parallelism_threads(),
        "matmul_dtype": product.dtype.name,
        "dtype_policy": keras.config.dtype_policy().name,
        "tf32_execution": tf.config.experimental.tensor_float_32_execution_enabled(),
        "keras": keras.__version__,
        "keras_backend": keras.backend.backend(),
    }


def build(cell: Cell, weights: Weights, batches: Batches) -> Program:
    if cell.world_size > 1:
        return parallel.build(cell, weights, batches)
    model = keras_models.make(cell.dims, around=recompute.around(cell))
    keras_models.load_weights(model, weights)
    if cell.trains:
        return Training(cell, model, batches)
    if cell.precision == "int8":
        content = lite.convert(cell, model, batches)
        return Lite(cell, content, batches, n_params=keras_models.count(model))
    forward = compiled(cell, lambda inputs: model(inputs, training=False))
    return Inference(cell, model, batches, forward=forward)


def export(cell: Cell, program: Program, path: Path) -> Settings:
    assert isinstance(program, (Inference, Lite))
    return exports.write(cell, program, path)


def check(cell: Cell, path: Path) -> None:
    """Raise with TensorFlow's words if the file is not valid, or if it would touch files."""
    exports.check(cell, path)


def load(cell: Cell, path: Path, batches: Batches) -> Program:
    return exports.load(cell, path, batches)


def gemm(cell: Cell, precision: str, n: int) -> Kernel | None:
    if precision not in DTYPES or (precision == "tf32" and cell.device != "cuda"):
        return None
    return programs.matmul(precision, n)


def stream(cell: Cell, n: int) -> Kernel:
    return programs.stream(n)


def peak_device_bytes(cell: Cell) -> int | None:
    return programs.device_bytes(cell, "peak")
