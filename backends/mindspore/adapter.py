"""MindSpore: PYNATIVE or ms.jit, value_and_grad and MindSpore's own optimizers."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops
from mindspore._c_expression import RuntimeConf  # nothing public tells what launch_blocking set

from backends import answers
from backends.mindspore import exports, models, parallel, precision, recompute
from backends.mindspore.precision import DTYPES, synchronize
from backends.mindspore.programs import Inference, Training
from bench.contract import Batches, Cell, Kernel, Program, Settings, Weights

NAME = "mindspore"
DIST = "mindspore"
launch = parallel.launch
allreduce = parallel.allreduce
devices = precision.kinds
peak_device_bytes = precision.peak_bytes

SMALLEST_POOL = 2  # threads: one actor and one kernel thread, even if one thread is asked for
POOL = ("ActorThread", "KernelThread")  # what MindSpore calls the threads that compute
ISA_LIMITS = ("DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA")


def absent(device: str) -> str:
    """What MindSpore says where it is asked for a device that it has not."""
    return answers.said(lambda: ms.set_device("GPU" if device in ("cuda", "rocm") else device))


def unsupported(cell: Cell) -> str | None:
    """The first reason why the cell cannot be run, in words."""
    found = answers.precision(cell, "MindSpore") or precision.unsupported(cell)
    return found or _sharding(cell) or recompute.unsupported(cell)


def _sharding(cell: Cell) -> str | None:
    if "sharding" in cell.settings:
        return (
            'MindSpore shards on no CPU: its "parallel optimizer only supports "Ascend" in data'
            ' parallel mode", and semi_auto_parallel finds an "Invalid communication backend: CPU"'
        )
    return None


def setup(cell: Cell) -> None:
    precision.use(cell)
    parallel.start(cell)
    # Its successor, runtime.dispatch_threads_num, sets the actors among them, not the pool.
    ms.set_context(mode=ms.PYNATIVE_MODE, runtime_num_threads=cell.threads)
    if cell.device != "cpu":
        return
    if cell.track == "tuned" or cell.threads < SMALLEST_POOL:
        # Operators are not queued: the queues' threads spin while they wait, on CPUs that compute.
        ms.runtime.launch_blocking()
    if cell.threads < SMALLEST_POOL:
        # The pool never has less than two threads, so they share one CPU, each process another.
        allowed = sorted(os.sched_getaffinity(0))
        own = {allowed[parallel.rank(cell) % len(allowed)]}
        for thread in answers.TASKS.iterdir():
            with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                os.sched_setaffinity(int(thread.name), own)


def effective(cell: Cell) -> Settings:
    """What is in force.

    threads: of MindSpore's pool, as far as there are CPUs for them.
    """
    ones = Tensor(np.ones((2, 2), np.float32), DTYPES.get(cell.precision))
    product = ops.matmul(ones, ones)
    product.asnumpy()  # the pool starts with the first operator
    pool = _pool()
    return {
        "threads": min(pool, len(os.sched_getaffinity(0))),
        "pool_threads": pool,
        "runtime_num_threads": ms.get_context("runtime_num_threads"),
        "matmul_dtype": str(product.dtype).lower(),
        "deterministic": ms.get_context("deterministic"),
        "launch_blocking": RuntimeConf.get_instance().is_launch_blocking(),
        "max_cpu_isa": {name: os.environ.get(name, "") for name in ISA_LIMITS},
        **precision.effective(cell),
    }


def _pool() -> int:
    """How many threads MindSpore's pool has, counted by their names."""
    names = Counter(name.partition("_")[0] for name in answers.thread_names())
    return sum(names[kind] for kind in POOL)


def build(cell: Cell, weights: Weights, batches: Batches) -> Program:
    model = models.make(cell.dims)
    models.load_weights(model, weights)
    model = precision.mixed(cell, model)
    recompute.apply(cell, model)
    model.set_train(cell.trains)
    if cell.world_size > 1:
        return parallel.Parallel(cell, model, batches)
    kind = Training if cell.trains else Inference
    return kind(cell, model, batches)


def export(cell: Cell, program: Program, path: Path) -> Settings:
    assert isinstance(program, Inference)
    return exports.write(cell, program.model, program.inputs[0], path)


def check(cell: Cell, path: Path) -> None:
    """Raise with MindSpore's words if the file is no MINDIR. Only ``native`` is MindSpore's."""
    exports.read(path)


def load(cell: Cell, path: Path, batches: Batches) -> Program:
    return Inference(cell, exports.read(path), batches)


def gemm(cell: Cell, precision: str, n: int) -> Kernel | None:
    asked = replace(cell, precision=precision, format="")
    # The switch of TF32 is set once for the process: float32 is multiplied in one way only.
    other = "fp32" if cell.precision == "tf32" else "tf32"
    if precision == other or unsupported(asked) is not None:
        return None
    draw = np.random.default_rng(0)
    dtype = DTYPES.get(precision)
    left, right = (Tensor(draw.random((n, n), np.float32), dtype) for _ in range(2))
    return Kernel(lambda: ops.matmul(left, right), partial(synchronize, cell))


def stream(cell: Cell, n: int) -> Kernel:
    source = ops.ones(n, ms.float32)
    return Kernel(lambda: source + 1.0, partial(synchronize, cell))
