"""What is run: the specs (TOML files beside this one), their data and weights, as typed values.

Worker half. ``workloads.catalogue`` finds a spec by its name, ``workloads.spec`` says what one is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.contract import Dims, Optimizer

FOLDER = Path(__file__).resolve().parent
SIZES = ("tiny", "small", "base", "large")
MADE_UP = ("base", "large")
"""Sizes whose data is drawn, with nothing in it to be learned: they measure computing only."""


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
    """What is run: the shapes, and the optimizer and steps that train it.

    quality_steps, quality_lr: what ``--quality`` trains for, with ``optimizer`` otherwise.
    """

    dims: Dims
    optimizer: Optimizer
    quality_steps: int
    quality_lr: float


@dataclass(frozen=True)
class SizeSpec(Run, Network):
    """All that one workload, model and size need: the fields of ``Run`` and ``Network``."""
