"""What a framework can do beside being fast: the questions, and what an adapter must have for them.

Worker half. Each question is a cell of the workload ``capability``, tried by
bench/worker/trial.py. An adapter's functions for them stand in a module of their own, which the
registry names; each may raise ``Unsupported`` with a fact about the framework.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.contract import Batch, Cell, Program, Weights


@dataclass(frozen=True)
class Capability:
    """One question. trains: it needs a training step. settings: what its cell asks for."""

    about: str
    trains: bool = True
    world_size: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)


CHECKPOINT, SAFE_LOAD = "checkpoint", "safe-load"
DYNAMIC_SHAPES = "dynamic-shapes"
DATA_PARALLEL, SHARDING = "data-parallel", "sharding"
PARALLEL_CHECKPOINT = "parallel-checkpoint"
SAFETENSORS, DLPACK = "safetensors", "dlpack"

CAPABILITIES: Mapping[str, Capability] = {
    CHECKPOINT: Capability("a fresh process resumes from a checkpoint: the next losses are equal"),
    DATA_PARALLEL: Capability("two devices share each batch: the losses are one's", world_size=2),
    SHARDING: Capability(
        "two devices share parameters or optimizer state: the losses are one's",
        world_size=2,
        settings={"sharding": "on"},
    ),
    PARALLEL_CHECKPOINT: Capability(
        "two devices resume from their checkpoint in fresh processes: the next losses are equal",
        world_size=2,
    ),
    DYNAMIC_SHAPES: Capability(
        "one compiled program takes batches and sequences of other lengths", trains=False
    ),
    SAFETENSORS: Capability("reads tensors from safetensors, equal to the bit", trains=False),
    DLPACK: Capability("takes and gives arrays through DLPack", trains=False),
    SAFE_LOAD: Capability("loading a checkpoint by default runs no code in it", trains=False),
}

_TRAINED = ("start", "build", "gate")
PROCESSES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    CHECKPOINT: ((*_TRAINED, "save"), ("start", "resume")),
    SAFE_LOAD: (("start", "build", "poison"), ("start", "build", "load")),
    DATA_PARALLEL: (_TRAINED,),
    SHARDING: ((*_TRAINED, "divided"),),
    PARALLEL_CHECKPOINT: ((*_TRAINED, "save"), ("start", "resume")),
    DYNAMIC_SHAPES: (("start", "reshape"),),
    SAFETENSORS: (("start", "tensors"),),
    DLPACK: (("start", "exchange"),),
}
"""The fresh processes that each takes, and the commands of each (bench/worker/trial.py)."""


@dataclass(frozen=True)
class Flexible:
    """A compiled or traced forward pass that is meant for any batch size and sequence length.

    infer: a batch -> its logits, float32 [B, classes]. programs: how many have been compiled.
    """

    infer: Callable[[Batch], np.ndarray]
    programs: Callable[[], int]


class Capabilities(Protocol):
    """The module's names, for the type checker."""

    def save(self, program: Program, folder: Path) -> None:
        """Write model and optimizer below ``folder``, as the framework's documentation does.

        Of several processes each is asked, and those that hold nothing of their own write nothing.
        """

    def restore(self, program: Program, folder: Path) -> None:
        """Load that into a program just built, with the loader's defaults."""

    def flexible(self, cell: Cell, weights: Weights) -> Flexible:
        """The model of ``cell`` in evaluation mode, for batches of any shape."""

    def tensors(self, path: Path) -> Mapping[str, np.ndarray]:
        """A safetensors file through the framework's loader, each tensor brought to the host."""

    def take(self, array: np.ndarray) -> Any:
        """A tensor of the framework's from an array that has ``__dlpack__``."""

    def give(self, tensor: Any) -> Any:
        """An object with ``__dlpack__`` and ``__dlpack_device__`` from such a tensor."""
