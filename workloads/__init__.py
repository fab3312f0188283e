"""What is run: the specs (TOML files beside this one), their data and weights, as typed values.

Worker half. ``workloads.catalogue`` finds a spec by its name, ``workloads.spec`` says what one is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contract import Optimizer
from bench.dims import Dims, dims_of

FOLDER = Path(__file__).resolve().parent
SIZES = ("tiny", "small", "base", "large")
NOISE = "noise"
"""Data that is drawn, with nothing in it to be learned: it measures computing only."""


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

    data, weights: by the names that ``workloads.materials`` knows. quality_steps, quality_lr: what
    ``--quality`` trains for, with ``optimizer`` otherwise.
    """

    dims: Dims
    optimizer: Optimizer
    quality_steps: int
    quality_lr: float
    data: str
    weights: str

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
        optimizer = Optimizer(**value["optimizer"])
        return cls(**{**value, "dims": dims_of(value["dims"]), "optimizer": optimizer})
