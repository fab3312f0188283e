"""What an adapter and the core promise each other: the words, as types.

Worker half: stdlib and numpy only, and nothing newer than Python 3.9, because this file is
imported under every backend's own interpreter.

An adapter is a module with these names (defaults are taken by assignment)::

    NAME, DIST                                  # DIST: the distribution whose version is recorded
    devices() -> list[str]                      # what this environment can really use, probed
    absent(device) -> str                       # the framework's words where it has no such device
    unsupported(cell) -> str | None             # what only the framework knows: a reason, or None
    setup(cell) -> None                         # apply device, threads, precision flags
    effective(cell) -> Settings                 # what is in force, read back from the framework
    build(cell, weights, batches) -> Program    # a native model, in the framework's own idiom
    export(cell, program, path) -> Settings     # write cell.format below path; facts about the file
    check(cell, path) -> None                   # raises, in the framework's words, if it is invalid
    load(cell, path, batches) -> Program        # read an exported file back, ready to infer
    gemm(cell, precision, n) -> Kernel | None   # an n x n x n matrix product, to know the machine
    stream(cell, n) -> Kernel                   # adds 1 to n float32 numbers: memory, or a launch
    allreduce(cell, n) -> Kernel | None         # sums n float32 numbers over the cell's devices
    peak_device_bytes(cell) -> int | None
    launch(cell, at) -> list[str]               # argv that starts a script once per process here
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.dims import (  # noqa: F401  for others' adapters
    AnyDims,
    CnnDims,
    DecoderDims,
    Dims,
    EncoderDims,
    dims_of,
)
from bench.failures import (  # noqa: F401  for others' adapters
    BenchError,
    Incapable,
    ParityError,
    TooSlow,
    Unsupported,
)
from bench.pipeline import Samples
from bench.rendezvous import Rendezvous

Settings = dict[str, Any]
"""JSON-able facts, such as ``{"threads": 2, "tf32": False}``."""

Weights = Mapping[str, np.ndarray]
"""Canonical tensor name -> float32 array; layouts are PyTorch's (conv OIHW, dense (out, in))."""

Batch = Mapping[str, np.ndarray]
"""``cnn``: image float32 [B, C, H, W], label int64 [B].
``transformer``: ids int64 [B, S], mask int64 [B, S] (1 = real token), label int64 [B].
``decoder``: ids int64 [B, S], label int64 [B, S], of each token the next one. Texts are packed one
behind the other, so there is no padding: every token is real, and the loss is the mean over all.
``lora``: the same.
``module``: input0, input1, ... and label, float32 or int64 [B, ...], by the user's code."""

INPUTS: Mapping[str, tuple[str, ...]] = {
    "cnn": ("image",),
    "transformer": ("ids", "mask"),
    "decoder": ("ids",),
    "lora": ("ids",),
}
"""Each model's inputs, in order: keys of its batches and names in its exported files."""


def inputs_of(model: str, count: int) -> tuple[str, ...]:
    """The names of ``count`` inputs: those of a module of the user's own are only numbered."""
    return INPUTS.get(model) or tuple(f"input{place}" for place in range(count))


GENERATE = "generate"
"""The workload that serves a decoder, token by token."""

NODES = "nodes"  # the setting of a cell on several machines: how many
ESCAPES = str.maketrans({"%": "%25", "/": "%2F", "=": "%3D"})
"""What has a meaning in a cell's id, within a setting: without it two settings could look alike."""


@dataclass(frozen=True)
class Optimizer:
    """``sgd``: L2 in the gradient, v = m*v + g, w -= lr*v. ``adamw``: decoupled decay."""

    name: str
    lr: float
    weight_decay: float = 0.0
    momentum: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8


@dataclass(frozen=True)
class Cell:
    """The unit that is run. Everything a worker needs to know, as plain JSON values.

    batch: samples of one process; a step handles batch x world_size. capability: the question that
    a cell of that workload asks, or "".
    """

    backend: str
    workload: str
    model: str
    size: str
    device: str
    precision: str
    mode: str
    track: str
    batch: int
    dims: AnyDims
    optimizer: Optimizer
    world_size: int = 1
    format: str = ""  # export cells: "onnx" or "native"
    capability: str = ""
    compile_cache: str = "cold"  # "cold": a fresh cache directory; "warm": a second process
    threads: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)  # asked for, adapter's own keys

    @property
    def role(self) -> str:
        """What its first process does."""
        kind = "export" if self.format else "train"
        return GENERATE if self.workload == GENERATE else kind

    @property
    def trains(self) -> bool:
        return self.role == "train"

    @property
    def processes(self) -> int:
        """Of one machine, where each device has a process."""
        return self.world_size // int(self.settings.get(NODES, 1))

    @property
    def id(self) -> str:
        """Stable and readable; two cells that may not be pooled differ in it."""
        parts = [self.backend, self.workload, self.model, self.size, self.device, self.precision]
        parts += [self.mode, self.track, f"b{self.batch}", f"w{self.world_size}"]
        parts += [self.format] if self.format else []
        parts += [self.capability] if self.capability else []
        parts += ["warm"] if self.compile_cache == "warm" else []
        settings = sorted(self.settings.items())
        parts += [f"{key.translate(ESCAPES)}={value.translate(ESCAPES)}" for key, value in settings]
        return "/".join(parts)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cell:
        kept = {"dims": dims_of(value["dims"]), "optimizer": Optimizer(**value["optimizer"])}
        return cls(**{**value, **kept})


@dataclass(frozen=True)
class Batches:
    """What a program is given at build time; it may place all of it on its device.

    samples: what it trains on instead of ``train``, where the framework's own input pipeline is
    timed, too: from the first on, in their order, and again when fewer than a batch are left.
    """

    train: list[Batch]
    infer: list[Batch]
    samples: Samples | None = None


class Program:
    """A built model on its device. ``train_step`` and ``infer`` may only enqueue."""

    n_params: int
    replicas: int = 1
    """Parts of a batch that have BatchNorm statistics of their own; 1: the whole batch."""
    pools: bool = False
    """Whether a step's memory on the host is of a pool that stays: the system sees nothing then."""

    def train_step(self) -> None:
        """Enqueue one optimizer step on the next batch of ``batches.train``, cycling."""
        raise Unsupported("this program only infers")

    def loss(self) -> float:
        """The mean loss of the last train step (waits for it)."""
        raise Unsupported("this program only infers")

    def infer(self, index: int) -> None:
        """Enqueue the forward pass, in evaluation mode, of ``batches.infer[index]``."""
        raise Unsupported(f"this program only trains; it cannot infer batch {index}")

    def logits(self) -> np.ndarray:
        """The logits of the last ``infer``, float32, on the host (waits).

        [B, classes], or a decoder's [B, S, vocab].
        """
        raise Unsupported("this program only trains")

    def frozen(self) -> Iterable[np.ndarray]:
        """The values that training must not change, one array after the other, on the host, in any
        order and layout. None where all parameters are trained.
        """
        return ()

    def wait(self) -> None:
        """Block until the device has finished everything enqueued. A no-op where calls block."""

    def slowest(self, values: Sequence[float]) -> list[float]:
        """Element by element the largest of all processes' values: they have to count alike."""
        return list(values)

    def optimizer_bytes(self) -> int | None:
        """Of what the optimizer keeps of every parameter between steps, on one device; numbers that
        are kept once, as a counter of steps, are left out. None: it keeps nothing yet, or no word.
        """
        return None

    def device_bytes(self) -> int | None:
        """In use on the device now, by the framework's own count; None on a CPU, and where the
        framework does not count.
        """
        return None

    def facts(self) -> Settings:
        """What holds for this program, read from its objects: layout, compiler, optimizer.

        ``dtypes``: of parameters, products, gradients and moments, once there was a step.
        ``sharded``: of how many tensors, parameters or optimizer state, a device has only a part.
        """
        return {}

    def close(self) -> None:
        """Release the model's memory."""


@dataclass
class Kernel:
    """One operation that can be repeated.

    enqueue: starts it and returns its result, which may not be there yet; finish: blocks until the
    result that it is given is there. A no-op where calls block.
    """

    enqueue: Callable[[], Any]
    finish: Callable[[Any], Any] = lambda _result: None
    result: Any = None
    started: bool = False

    def run(self) -> None:
        self.result = self.enqueue()
        self.started = True

    def wait(self) -> None:
        if self.started:
            self.finish(self.result)


class Adapter(Protocol):
    """The module's names, for the type checker."""

    NAME: str
    DIST: str

    def devices(self) -> list[str]: ...
    def absent(self, device: str) -> str: ...
    def unsupported(self, cell: Cell) -> str | None: ...
    def setup(self, cell: Cell) -> None: ...
    def effective(self, cell: Cell) -> Settings: ...
    def build(self, cell: Cell, weights: Weights, batches: Batches) -> Program: ...
    def export(self, cell: Cell, program: Program, path: Path) -> Settings: ...
    def check(self, cell: Cell, path: Path) -> None: ...
    def load(self, cell: Cell, path: Path, batches: Batches) -> Program: ...
    def gemm(self, cell: Cell, precision: str, n: int) -> Kernel | None: ...
    def stream(self, cell: Cell, n: int) -> Kernel: ...
    def allreduce(self, cell: Cell, n: int) -> Kernel | None: ...
    def peak_device_bytes(self, cell: Cell) -> int | None: ...
    def launch(self, cell: Cell, at: Rendezvous) -> list[str]: ...


def one_process(_cell: Cell, _at: Rendezvous) -> list[str]:
    """The default ``launch``: one process, however many devices it drives."""
    return []


def no_allreduce(_cell: Cell, _n: int) -> Kernel | None:
    """The default ``allreduce``: the sum over devices cannot be had apart from a step."""
    return None


def no_device_bytes(_cell: Cell) -> int | None:
    """The default ``peak_device_bytes``: the framework does not count them."""
    return None
