"""Keras's engines: what else differs between them than the name.

Keras takes one of them for a whole process, by $KERAS_BACKEND, when it is imported. ``engine()``
is that one; the other frameworks are not imported.
"""

from __future__ import annotations

import importlib
import itertools
import os
from collections.abc import Sequence
from functools import cache
from typing import Any

import keras
import numpy as np

from bench.contract import Settings

Tensor = Any
Sample = tuple[Any, Any]
"""A train batch: the model's inputs (an array, or a tuple of them) and the label."""


class Engine:
    """What most of them have in common. tool: the framework's module."""

    modes: tuple[str, ...] = ("compiled", "eager")

    def __init__(self, tool: Any) -> None:
        self.tool = tool

    def endless(self, samples: Sequence[Sample]) -> Any:
        """What fit takes for data that does not end; ``place`` has put it where it is needed."""
        return (sample for sample in itertools.cycle(samples))

    def sync(self, model: keras.Model) -> None:
        """Let the model see what fit has done. Most engines' fit works on the model itself."""


class Jax(Engine):
    """Always under XLA: ``eager`` compiles each operation by itself."""

    def devices(self) -> list[str]:
        from backends.jax import platforms  # noqa: PLC0415  # imports jax, which others lack

        return platforms.kinds()

    def ask_for(self, device: str) -> object:
        return self.tool.devices(device)

    def tf32(self) -> bool:
        return self.tool.config.jax_default_matmul_precision != "highest"

    def set_tf32(self, *, on: bool) -> None:
        """Its own default is TF32 on NVIDIA's GPUs, and bfloat16 on TPUs."""
        name = "tensorfloat32" if on else "highest"
        self.tool.config.update("jax_default_matmul_precision", name)

    def set_threads(self, threads: int) -> None:
        """XLA starts a thread for each CPU that the process may use, when jax first computes."""
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])

    def set_devices(self, count: int) -> None:
        """Let the host count as so many devices; jax has not computed yet."""
        self.tool.config.update("jax_num_cpu_devices", count)

    def threads(self) -> Settings:
        return {"threads": len(os.sched_getaffinity(0))}

    def place(self, array: np.ndarray) -> Tensor:
        return self.tool.device_put(array)

    def sync(self, model: keras.Model) -> None:
        model.jax_state_sync()

    def device_bytes(self, which: str) -> int | None:
        """Of the device that needed most, "peak" or "current"; a CPU does not count."""
        stats = [one.memory_stats() for one in self.tool.devices()]
        name = "peak_bytes_in_use" if which == "peak" else "bytes_in_use"
        return max((one[name] for one in stats if one), default=None)

    def wait(self) -> None:
        """All arrays, because during fit only fit knows where the newest weights are."""
        self.tool.block_until_ready(self.tool.live_arrays())


class TensorFlow(Engine):
    """Graphs, with or without XLA, or eager."""

    modes = ("compiled", "graph", "eager")

    def devices(self) -> list[str]:
        gpu = self.tool.test.is_built_with_cuda() and self.tool.config.list_physical_devices("GPU")
        return ["cpu", "cuda"] if gpu else ["cpu"]

    def ask_for(self, device: str) -> object:
        self.tool.config.set_soft_device_placement(False)  # or it would take another one
        with self.tool.device(f"/device:{'TPU' if device == 'tpu' else 'GPU'}:0"):
            return self.tool.identity(1.0)

    def tf32(self) -> bool:
        enabled: bool = self.tool.config.experimental.tensor_float_32_execution_enabled()
        return enabled

    def set_tf32(self, *, on: bool) -> None:
        self.tool.config.experimental.enable_tensor_float_32_execution(on)

    def set_threads(self, threads: int) -> None:
        self.tool.config.threading.set_intra_op_parallelism_threads(threads)
        self.tool.config.threading.set_inter_op_parallelism_threads(1)

    def threads(self) -> Settings:
        threading = self.tool.config.threading
        return {
            "threads": threading.get_intra_op_parallelism_threads(),
            "interop_threads": threading.get_inter_op_parallelism_threads(),
        }

    def place(self, array: np.ndarray) -> Tensor:
        return self.tool.constant(array)

    def endless(self, samples: Sequence[Sample]) -> Any:
        """A tf.data set: of a generator fit would call Python from inside its graph."""
        stacked = self.tool.nest.map_structure(lambda *arrays: np.stack(arrays), *samples)
        data = self.tool.data
        return data.Dataset.from_tensor_slices(stacked).repeat().prefetch(data.AUTOTUNE)

    def device_bytes(self, which: str) -> int | None:
        known = self.tool.config.experimental.get_memory_info
        count = len(self.tool.config.list_logical_devices("GPU"))
        return max((int(known(f"GPU:{index}")[which]) for index in range(count)), default=None)

    def wait(self) -> None:
        self.tool.test.experimental.sync_devices()


class Torch(Engine):
    """Eager as a rule; ``compiled`` is torch.compile around the step."""

    def devices(self) -> list[str]:
        if not self.tool.cuda.is_available():
            return ["cpu"]
        return ["cpu", "rocm" if self.tool.version.hip else "cuda"]

    def ask_for(self, device: str) -> object:
        return self.tool.ones(1, device={"rocm": "cuda", "tpu": "xla"}.get(device, device))

    def tf32(self) -> bool:
        backends = self.tool.backends
        return bool(backends.cuda.matmul.allow_tf32 or backends.cudnn.allow_tf32)

    def set_tf32(self, *, on: bool) -> None:
        """Convolutions would take it by default."""
        backends = self.tool.backends
        backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = on

    def set_threads(self, threads: int) -> None:
        self.tool.set_num_threads(threads)
        if self.tool.get_num_interop_threads() != 1:  # it can be set only once
            self.tool.set_num_interop_threads(1)

    def threads(self) -> Settings:
        return {
            "threads": self.tool.get_num_threads(),
            "interop_threads": self.tool.get_num_interop_threads(),
        }

    def place(self, array: np.ndarray) -> Tensor:
        placed = self.tool.from_numpy(array.copy())  # torch has no read-only tensors
        return placed.to(self._device())

    def device_bytes(self, which: str) -> int | None:
        if self._device() != "cuda":
            return None
        cuda = self.tool.cuda
        return cuda.max_memory_allocated() if which == "peak" else cuda.memory_allocated()

    def wait(self) -> None:
        """A CPU's operators return when they are done."""
        if self._device() == "cuda":
            self.tool.cuda.synchronize()

    def _device(self) -> str:
        """Where Keras puts its variables: on a GPU if torch sees one."""
        return "cuda" if self.tool.cuda.is_available() else "cpu"


ENGINES: dict[str, Any] = {"jax": Jax, "tensorflow": TensorFlow, "torch": Torch}


@cache
def engine() -> Any:
    """The engine of this process."""
    name = keras.backend.backend()
    return ENGINES[name](importlib.import_module(name))
