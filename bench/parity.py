"""The gate before the clock: does this program compute the reference's function?

Worker half. The reference is a float64 PyTorch run, cross-checked by an independent NumPy forward;
its traces are committed under ``workloads/traces``. Errors are relative to the largest reference
logit, or to the reference loss.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.contract import BenchError, Cell, Program, TooSlow, Unsupported

STEPS = 5
POSITIONS, WORDS = 4, 32
"""Of a decoder's logits, how many of a sample's positions and of the vocabulary a trace holds."""


@dataclass(frozen=True)
class Bounds:
    """Largest relative errors that pass."""

    logits: float
    first_loss: float
    losses: float
    after: float
    """Logits after the steps. Wide, because frameworks differ in a fact that the training losses
    do not see: PyTorch and MindSpore keep the unbiased running variance, the others the biased one
    (a factor of n / (n - 1)). It still catches a wrong BatchNorm momentum."""


# fp32's are the design's. bf16's losses are some four times the largest errors that PyTorch's
# autocast has shown on the reference models (1.1e-3); its logits twice (5.0e-2 on the export
# workload's trained head, where MXNet's are off by 5.1e-2; 1.4e-2 before training). tf32 and fp16
# carry 10 bits of mantissa to bf16's 7, so an eighth of its error. fp16 that a CPU emulates (torch,
# TensorFlow, JAX, MindSpore at tiny) was off by 2.1e-3 in the logits and 3.9e-4 in the losses; no
# GPU has confirmed either yet. int8 is another function on purpose: its bound only catches garbage,
# and what it costs stands in the row's accuracy (ONNX Runtime's files were off by up to 0.27 where
# the accuracy fell by 0.06 at most).
BOUNDS = {
    "fp32": Bounds(logits=1e-5, first_loss=1e-5, losses=1e-4, after=2e-2),
    "tf32": Bounds(logits=1e-2, first_loss=2e-3, losses=5e-3, after=5e-2),
    "fp16": Bounds(logits=1e-2, first_loss=2e-3, losses=5e-3, after=5e-2),
    "bf16": Bounds(logits=1e-1, first_loss=5e-3, losses=1e-2, after=1e-1),
    "int8": Bounds(logits=5e-1, first_loss=0.0, losses=0.0, after=0.0),
}


@dataclass(frozen=True)
class Trace:
    """What the reference computed. Losses are before each update.

    Logits are [B, classes], or of a decoder those that ``sampled`` takes.

    param_count: of those that are trained; frozen_count: of the others.
    replicated: number of parts -> the losses where BatchNorm takes each part's own statistics.
    Of a module of the user's own, outputs are [B, ...], and flops_per_sample is what PyTorch
    counted in a forward pass.
    """

    param_count: int
    batch: int
    logits: np.ndarray
    losses: list[float] = field(default_factory=list)
    replicated: Mapping[int, list[float]] = field(default_factory=dict)
    logits_after: np.ndarray | None = None
    accuracy: float | None = None
    accuracy_samples: int = 0
    flops_per_sample: int = 0
    frozen_count: int = 0

    def losses_of(self, replicas: int) -> list[float]:
        """Unsupported where the reference has not been trained in so many parts."""
        if replicas > 1 and replicas not in self.replicated:
            known = " or ".join(map(str, self.replicated)) or "no"
            raise Unsupported(
                f"BatchNorm's statistics are of {replicas} parts of a batch: the reference knows"
                f" {known} parts"
            )
        return self.replicated[replicas] if replicas > 1 else self.losses


@dataclass(frozen=True)
class Verdict:
    """How far off the program was, and which bounds it broke (none: it passed)."""

    logits_err: float
    loss_err: float | None
    losses: list[float]
    first_step_ns: int | None
    failures: list[str]


@dataclass(frozen=True)
class Patience:
    """seconds: what is left until the cell's deadline; steps: the fewest that follow the gate."""

    seconds: float
    steps: int

    def look(self, step_s: float, *, left: int) -> None:
        """Raise TooSlow if ``left`` steps of the gate and those after it take longer."""
        needed = (left + self.steps) * step_s
        if needed > self.seconds:
            raise TooSlow(
                f"a step takes {step_s:.3g} s: the {left + self.steps} that are left at least would"
                f" take {needed:.0f} s, and the deadline is in {self.seconds:.0f} s"
            )


def read_trace(path: Path, *, trains: bool) -> Trace:
    """The training trace, or the export trace (export head, logits and accuracy)."""
    try:
        raw = json.loads(path.read_text())
        part = raw if trains else raw["export"]
        trace = Trace(
            param_count=int(raw["param_count"]),
            batch=int(raw["batch"]) if trains else len(part["logits"]),
            logits=np.array(part["logits"], np.float64),
            losses=[float(loss) for loss in part.get("losses", [])],
            replicated={
                int(parts): [float(loss) for loss in losses]
                for parts, losses in part.get("replicated", {}).items()
            },
            logits_after=np.array(part["logits_after"], np.float64) if trains else None,
            accuracy=part.get("accuracy"),
            accuracy_samples=int(part.get("accuracy_samples", 0)),
            flops_per_sample=int(raw.get("flops_per_sample", 0)),
            frozen_count=int(raw.get("frozen_count", 0)),
        )
        _check_whole(trace, trains=trains)
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise BenchError(f"{path}: not a readable trace ({error!r})") from error
    return trace


def _check_whole(trace: Trace, *, trains: bool) -> None:
    """Raise ValueError where a comparison would have nothing to compare with."""
    for logits in (trace.logits, trace.logits_after):
        if logits is not None and (logits.ndim < 2 or not logits.size):
            raise ValueError("logits must be rows of numbers")
    for losses in (trace.losses, *trace.replicated.values()):
        if trains and len(losses) != STEPS:
            raise ValueError(f"{len(losses)} losses instead of {STEPS}")


def check(
    program: Program, trace: Trace, cell: Cell, *, patience: Patience | None = None
) -> Verdict:
    """Compare parameter count, logits and, where the cell trains, five losses.

    Raises TooSlow as soon as two steps show that the cell will not be done in time. Where devices
    have statistics of their own, no logits are compared after the steps: whose running statistics
    are then used, the first device's or a mean, differs by framework.
    """
    bounds = BOUNDS[cell.precision]
    failures: list[str] = []
    if program.n_params != trace.param_count:
        failures.append(f"{program.n_params} parameters instead of {trace.param_count}")
    logits_err = _logits_error(program, trace.logits)
    _bound(failures, "logits", logits_err, bounds.logits)
    if not cell.trains:
        return Verdict(logits_err, None, [], None, failures)
    expected = trace.losses_of(program.replicas)
    frozen = Frozen.of(program)
    losses, first_step_ns = _train(program, len(expected), patience)
    errors = [_relative(ours, theirs) for ours, theirs in zip(losses, expected)]
    _bound(failures, "the loss of step 1", errors[0], bounds.first_loss)
    _bound(failures, f"a loss of steps 2 to {len(errors)}", max(errors[1:]), bounds.losses)
    if frozen.count != trace.frozen_count:
        failures.append(f"{frozen.count} frozen weights instead of {trace.frozen_count}")
    if Frozen.of(program) != frozen:
        failures.append(f"the frozen weights changed in {len(errors)} steps")
    if trace.logits_after is not None and program.replicas == 1:
        _bound(
            failures,
            f"logits after {len(errors)} steps",
            _logits_error(program, trace.logits_after),
            bounds.after,
        )
    return Verdict(logits_err, max(errors), losses, first_step_ns, failures)


@dataclass(frozen=True)
class Frozen:
    """The weights that training must not change: how many, and all of their bits."""

    count: int
    digest: str

    @classmethod
    def of(cls, program: Program) -> Frozen:
        count, found = 0, hashlib.sha256()
        for values in program.frozen():
            count += values.size
            found.update(np.ascontiguousarray(values).tobytes())
        return cls(count, found.hexdigest())


def sampled(logits: np.ndarray) -> np.ndarray:
    """[B, classes] as they are; of [B, S, vocab] evenly spread positions and words.

    The first position sees only itself, where a mask that is not causal shows most; the last one
    sees all. What is left out counts in the losses, which are means over every position.
    """
    if logits.ndim != 3:
        return logits
    positions, words = (
        np.linspace(0, size - 1, min(count, size)).round().astype(int)
        for size, count in zip(logits.shape[1:], (POSITIONS, WORDS))
    )
    return logits[:, positions[:, None], words]


def relative_error(ours: np.ndarray, reference: np.ndarray) -> float:
    """Largest difference over the largest reference value; inf where anything is not finite."""
    if ours.shape != reference.shape or not np.isfinite(ours).all():
        return float("inf")
    difference = np.abs(ours.astype(np.float64) - reference).max()
    return float(difference / max(float(np.abs(reference).max()), 1e-30))


def _logits_error(program: Program, reference: np.ndarray) -> float:
    program.infer(0)
    return relative_error(sampled(program.logits()), reference)


def _train(program: Program, count: int, patience: Patience | None) -> tuple[list[float], int]:
    """Losses of the first steps, and the nanoseconds of the very first (with its lazy compile)."""
    program.wait()
    start = time.perf_counter_ns()
    program.train_step()
    program.wait()
    first_step_ns = time.perf_counter_ns() - start
    losses = [program.loss()]
    start = time.perf_counter_ns()
    program.train_step()
    losses.append(program.loss())
    step_s = (time.perf_counter_ns() - start) / 1e9
    if patience is not None:
        patience.look(step_s, left=count - len(losses))
    while len(losses) < count:
        program.train_step()
        losses.append(program.loss())
    return losses, first_step_ns


def _relative(ours: float, theirs: float) -> float:
    error = abs(ours - theirs) / max(abs(theirs), 1e-30)
    return error if np.isfinite(error) else float("inf")


def _bound(failures: list[str], what: str, error: float, bound: float) -> None:
    if not error <= bound:
        failures.append(f"{what} off by {error:.2g} (bound {bound:.0e})")
