"""The batches that a job's cell is timed, gated and judged with. Worker half."""

from __future__ import annotations

from bench import parity, safetensors
from bench.contract import Batch, Batches, Unsupported
from bench.job import Job
from bench.parity import Trace
from bench.pipeline import INPUT, Samples
from bench.worker import ladder
from workloads import batches as making

HELD_OUT_BATCH = 64


def batches(job: Job, trace: Trace, batch: int, *, train_batches: int | None = None) -> Batches:
    """Train batches and the gate batch; to serve, the timed and the held-out ones too.

    The timed loop cycles over ``job.train_batches`` distinct ones, of which the gate takes five.
    """
    made = making.make(
        safetensors.read(job.data),
        model=job.cell.model,
        batch=batch,
        train_batches=job.train_batches if train_batches is None else train_batches,
        infer_batches=1,
    )
    infer = held_out(job, trace.batch, limit=trace.batch)
    if not job.cell.trains:
        infer += held_out(job, job.cell.batch, limit=job.cell.batch)
    if job.role == "serve" and trace.accuracy_samples:
        infer += held_out(job, HELD_OUT_BATCH, limit=trace.accuracy_samples)
    return Batches(made.train, infer, _samples(job, batch))


def _samples(job: Job, batch: int) -> Samples | None:
    """The training split, for a cell whose framework makes the batches itself."""
    if INPUT not in job.cell.settings:
        return None
    columns = making.columns(safetensors.read(job.data), "train", job.cell.model)
    made = Samples(columns)
    if len(made) < parity.STEPS * batch:
        raise Unsupported(
            f"the gate trains with {parity.STEPS} batches of {batch}, of which {len(made)} samples"
            " make fewer: a pipeline would begin anew before"
        )
    return made


def held_out(job: Job, batch: int, *, limit: int | None = None) -> list[Batch]:
    """Held-out batches of the first ``limit`` samples; None: of all that fill a batch."""
    data = safetensors.read(job.data)
    limit = len(data["test.label"]) if limit is None else limit
    return making.held_out(data, model=job.cell.model, batch=batch, limit=limit)


def judged(infer: list[Batch]) -> list[Batch]:
    """Of the batches to serve, those whose answers are counted."""
    return infer[ladder.TIMED + 1 :]
