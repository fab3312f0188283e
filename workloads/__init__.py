"""What is run: the specs (TOML files beside this one), their data and weights, as typed values.

Worker half. ``workloads.catalogue`` finds a spec by its name, ``workloads.spec`` says what one is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

from bench.contract import Optimizer
from bench.dims import AnyDims, dims_of

FOLDER = Path(__file__).resolve().parent
SIZES = ("tiny", "small", "base", "large")
NOISE = "noise"
"""Data that is drawn, with nothing in it to be learned: it measures computing only."""


@dataclass(frozen=True)
class Own:
    """Data or weights of the user's own.

    kind: how they are read, as ``workloads.materials`` knows. paths: of each part, on this machine.
    sha256: of each part's content. options: all else that decides what comes out.
    """

    kind: str
    paths: Mapping[str, str]
    sha256: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        """What they are, wherever they lie: the same on every machine."""
        return {"kind": self.kind, "sha256": dict(self.sha256), "options": dict(self.options)}


Source = Union[str, Own]
"""Of data or weights: the name of the reference's, or the user's own."""


def facts(source: Source) -> Any:
    """JSON that is the same where the source is."""
    return source.facts if isinstance(source, Own) else source


@dataclass(frozen=True)
class Run:
    """How one size is run.

    batch: samples a step. steps_min, measure_s: measure at least this many steps and seconds.
    warmup_cap: most warm-up blocks. deadline_s: after this the cell is a timeout.
    estimate_s: rough time of a cell on two cores, for the progress line only.
    memory_mib: about the most that a worker of any backend was seen to hold; what may be alive at
    once is judged by it. gate_batch: samples of the parity gate's batch, where the float64
    reference cannot have the timed one; 0 for the same. train_batches: distinct ones that the
    timed loop cycles over; the device holds all of them.
    """

    batch: int
    steps_min: int
    measure_s: float
    warmup_cap: int
    deadline_s: float
    estimate_s: float
    memory_mib: int
    gate_batch: int = 0
    train_batches: int = 16


@dataclass(frozen=True)
class Network:
    """What is run: the shapes, the optimizer and steps that train it, and on what.

    data, weights: by the names that ``workloads.materials`` knows, or the user's own.
    quality_steps, quality_lr: what ``--quality`` trains for, with ``optimizer`` otherwise.
    target: the accuracy that ``--target`` trains to, 0 for none.
    """

    dims: AnyDims
    optimizer: Optimizer
    quality_steps: int
    quality_lr: float
    data: Source
    weights: Source
    target: float

    @property
    def learns(self) -> bool:
        """Whether there is anything in the data to be learned."""
        return self.data != NOISE


@dataclass(frozen=True)
class SizeSpec(Run, Network):
    """All that one workload, model and size need: the fields of ``Run`` and ``Network``."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SizeSpec:
        made: dict[str, Any] = {
            "dims": dims_of(value["dims"]),
            "optimizer": Optimizer(**value["optimizer"]),
            "data": _source(value["data"]),
            "weights": _source(value["weights"]),
        }
        return cls(**{**value, **made})


def _source(value: str | Mapping[str, Any]) -> Source:
    return value if isinstance(value, str) else Own(**value)
