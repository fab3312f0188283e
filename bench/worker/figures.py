"""Raw nanoseconds into the row's figures; pure, and part of the worker half."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench import clock
from bench.contract import Batch, Cell

HONEST_WITHIN = 1.1
"""A model may seem this much faster than a matrix product before its precision is doubted: both are
medians or minima of short runs on a machine that drifts by some 10 %."""


@dataclass
class Times:
    """Everything that was timed. ``step_ns`` are single steps, each waited for.

    Where several processes train together these are the slowest's; ``own_block_ns`` are this one's.
    """

    block_steps: int = 1
    block_ns: list[int] = field(default_factory=list)
    own_block_ns: list[int] = field(default_factory=list)
    step_ns: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Tokens:
    """Mean tokens of a timed step, of all processes: as computed (padded), and the real ones.

    Without a mask there is no padding.
    """

    padded: float
    real: float

    @classmethod
    def of(cls, batches: Sequence[Batch]) -> Tokens | None:
        """None where there is no text."""
        texts = [batch for batch in batches if "ids" in batch]
        if not texts:
            return None
        real = [text["mask"].sum() if "mask" in text else text["ids"].size for text in texts]
        padded = [text["ids"].size for text in texts]
        return cls(padded=float(np.mean(padded)), real=float(np.mean(real)))


def figures(
    cell: Cell, times: Times, *, known: Mapping[str, Any], tokens: Tokens | None
) -> dict[str, Any]:
    """Throughput from the median block, percentiles from single steps.

    ``known`` are the columns so far; ``flops_per_sample`` must be among them.
    """
    block_s = statistics.median(times.block_ns) / 1e9
    steps_per_s = times.block_steps / block_s
    rate = steps_per_s * cell.batch * cell.world_size
    row: dict[str, Any] = dict(_percentiles(times.step_ns, "step" if cell.trains else "infer"))
    row["samples_per_s" if cell.trains else "infer_samples_per_s"] = rate
    row["steps" if cell.trains else "infer_steps"] = len(times.block_ns) * times.block_steps
    if tokens:
        row["tokens_per_s"] = steps_per_s * tokens.padded
        row["real_tokens_per_s"] = steps_per_s * tokens.real
    if cell.mode != "eager" and "first_step_s" in known:
        # Tracers and lazy compilers work inside the first step; what is left of it is their time.
        row["compile_s"] = max(0.0, known["first_step_s"] - 1 / steps_per_s)
    row["tflops"] = known["flops_per_sample"] * rate / 1e12
    if known.get("gemm_tflops"):
        row["mfu"] = row["tflops"] / (known["gemm_tflops"] * cell.world_size)
        row["precision_honest"] = row["mfu"] <= HONEST_WITHIN
    return row


def _percentiles(nanoseconds: Sequence[int], name: str) -> dict[str, float]:
    return {
        f"{name}_ms_p{percent}": clock.percentile(nanoseconds, percent) / 1e6
        for percent in (50, 95, 99)
        if nanoseconds  # none were timed: the columns stay empty
    }
