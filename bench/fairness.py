"""``bench fairness``: each adapter's model against its framework's own best public one.

One fresh process a repeat trains both in turns (bench/worker/duel.py). What is compared is the time
of a step; a ratio above 1 means that ours is slower. A process's log-ratio is the median over its
rounds, for a neighbour on the host spoils single ones; what the processes say together is for
bench/readme/fairness.py.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from safetensors.numpy import save_file

from backends.entry import Entry
from bench import backends_index, envs, grid, machine
from bench.child.launch import Child, Ended
from bench.child.scratch import scratch_folder
from bench.contract import Cell, Optimizer
from bench.dims import CnnDims, Dims, EncoderDims, ours
from bench.errors import EXIT_NO, EXIT_NOTHING, EXIT_OK, EnvError, UsageError
from bench.job import Job
from bench.options import pythons
from bench.readme.fairness import table, verdicts
from bench.worker.duel import OURS, THEIRS
from workloads import synthetic
from workloads.weights import seeded

WARMUP_BLOCKS = 8
DEADLINE_S = 1800.0


@dataclass(frozen=True)
class Shape:
    """What both models are built for."""

    dims: Dims
    optimizer: Optimizer
    batch: int


SHAPES = {
    # ResNet-50 v1.5 at 224 x 224, which every framework has a public model of.
    "cnn": Shape(
        CnnDims(224, 3, 1000, "7x7", (64, 128, 256, 512), (3, 4, 6, 3), bottleneck=True),
        Optimizer("sgd", lr=1e-3, momentum=0.9),
        batch=2,
    ),
    # MiniLM-L6-H384: BERT's layout at a size of which a CPU trains several steps a second.
    "transformer": Shape(
        EncoderDims(30522, 512, 2, 6, 384, 12, 1536, 2, 64),
        Optimizer("adamw", lr=1e-5, weight_decay=0.01),
        batch=16,
    ),
}
COLUMNS = (
    *("started_at", "backend", "version", "model", "public", "device_name", "threads", "mode"),
    *("track", "batch", "process", "rounds", "block_steps", "ours_step_ms", "theirs_step_ms"),
    *("log_ratio", "ours_params", "theirs_params", "status", "reason", "git_rev"),
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """How often, and how."""

    processes: int
    rounds: int
    track: str
    pythons: Mapping[str, Path]


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 if a model of ours is slower than the limit; 3 if nothing was measured."""
    known = [name for name in backends_index.names() if backends_index.find(name).public]
    backends = grid.choose("backend with public models", arguments.backend, known)
    models = grid.choose("model", arguments.model, SHAPES)
    chosen = Options(
        processes=arguments.processes,
        rounds=arguments.rounds,
        track=arguments.track,
        pythons=pythons(arguments.python),
    )
    console = Console(highlight=False)
    out = arguments.out or Path("results/local") / f"fairness-{os.getpid()}.csv"
    rows = []
    with _table_file(out) as write:
        for row in measure(backends, models, chosen=chosen, console=console):
            write(row)
            rows.append(row)
    found = verdicts(rows)
    for line in table(found):
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"\nresults: {out}", soft_wrap=True)
    if not found:
        return EXIT_NOTHING
    return EXIT_OK if all(verdict.fair for verdict in found) else EXIT_NO


@contextlib.contextmanager
def _table_file(path: Path) -> Iterator[Callable[[Row], None]]:
    """Writes rows as they come; UsageError where the file cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("x", newline="", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; name another --out") from error
    with stream:
        writer = csv.DictWriter(stream, COLUMNS, restval="")
        writer.writeheader()

        def write(row: Row) -> None:
            writer.writerow(row)
            stream.flush()

        yield write


def measure(
    backends: Sequence[str], models: Sequence[str], *, chosen: Options, console: Console
) -> Iterator[Row]:
    """Processes outermost, so that a machine that drifts spreads over all backends alike."""

    def make(backend: str, lock: str) -> envs.Env:
        return envs.resolve(backend, lock, pythons=chosen.pythons, log=console.print)

    locks = {backend: backends_index.find(backend).public_lock for backend in backends}
    made = envs.each(make, locks.items())
    plan = list(product(range(1, chosen.processes + 1), backends, models))
    for done, (process, backend, model) in enumerate(plan, start=1):
        started = time.monotonic()
        cell = _cell(backend, model, track=chosen.track)
        row = _identity(cell, process=process, rounds=chosen.rounds)
        env = made[backend, locks[backend]]
        if isinstance(env, EnvError):
            row |= {"status": "env_failed", "reason": str(env)}
        else:
            row |= _measured(cell, env.python, rounds=chosen.rounds, process=process)
        said = row["reason"] or f"{math.exp(row['log_ratio']):.3f}"
        seconds = time.monotonic() - started
        console.print(
            f"[{done}/{len(plan)}] {backend} {model}: {said} ({seconds:.0f} s)",
            soft_wrap=True,
            markup=False,
        )
        yield row


def _cell(backend: str, model: str, *, track: str) -> Cell:
    shape = SHAPES[model]
    return Cell(
        backend=backend,
        workload=model,
        model=model,
        size="fairness",
        device="cpu",
        precision="fp32",
        mode=backends_index.find(backend).modes[0],
        track=track,
        batch=shape.batch,
        dims=shape.dims,
        optimizer=shape.optimizer,
        threads=len(machine.cpus()),
    )


def _identity(cell: Cell, *, process: int, rounds: int) -> Row:
    """The columns that are known before anything runs."""
    return {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "backend": cell.backend,
        "model": cell.model,
        "device_name": machine.device_name(cell.device),
        "threads": cell.threads,
        "mode": cell.mode,
        "track": cell.track,
        "batch": cell.batch,
        "process": process,
        "rounds": rounds,
        "status": "ok",
        "reason": "",
        "git_rev": machine.git_rev(),
    }


def _measured(cell: Cell, python: Path, *, rounds: int, process: int) -> Row:
    """What one fresh process found, or the status and reason why it found nothing."""
    entry = backends_index.find(cell.backend)
    with scratch_folder() as scratch:
        job = _job(cell, entry, scratch=scratch)
        with Child(python, job, entry=entry, scratch=scratch, caches=scratch / "caches") as child:
            try:
                return _duel(child, rounds=rounds, process=process)
            except Ended as ended:
                return {"status": ended.status, "reason": ended.reason}


def _duel(child: Child, *, rounds: int, process: int) -> Row:
    def ask(do: str, **values: Any) -> dict[str, Any]:
        return child.ask(do, deadline=time.monotonic() + DEADLINE_S, **values)

    started, built = ask("start"), ask("build")
    warm = ask("warm_up", max_blocks=WARMUP_BLOCKS)
    # Who begins alternates from round to round, and from process to process.
    order = [OURS if (at + process) % 2 else THEIRS for at in range(rounds)]
    steps = [ask("round", first=first) for first in order]
    ours, theirs = ([step[name] / 1e6 for step in steps] for name in (OURS, THEIRS))
    return {
        "version": started["version"],
        "public": started["public"],
        "block_steps": warm["block_steps"],
        "ours_step_ms": statistics.median(ours),
        "theirs_step_ms": statistics.median(theirs),
        "log_ratio": statistics.median(math.log(a / b) for a, b in zip(ours, theirs, strict=True)),
        "ours_params": built[OURS],
        "theirs_params": built[THEIRS],
    }


def _job(cell: Cell, entry: Entry, *, scratch: Path) -> Job:
    weights, data, trace = (scratch / name for name in ("weights", "data", "trace"))
    save_file(seeded(ours(cell.dims), name=f"{cell.model}-fairness"), weights)
    save_file(_data(ours(cell.dims)), data)
    return Job(
        role="fairness",
        cell=cell,
        module=entry.module,
        weights=weights,
        data=data,
        trace=trace,
        exported=scratch / "exported",
        logits=scratch / "logits",
        commands=scratch / "commands",
        replies=scratch / "replies",
        row=scratch / "row.json",
        cpus=machine.cpus()[: cell.threads],
        parent=os.getpid(),
        rival=entry.public,
    )


def _data(dims: Dims) -> dict[str, np.ndarray]:
    """Random images, or made-up sentences."""
    if isinstance(dims, EncoderDims):
        return synthetic.tensors(dims)
    assert isinstance(dims, CnnDims)  # no other model is in SHAPES
    rng = np.random.RandomState(0)
    count, shape = 32, (dims.channels, dims.image, dims.image)
    images = {
        f"{split}.image": rng.random_sample((count, *shape)).astype(np.float32)
        for split in ("train", "test")
    }
    labels = {
        f"{split}.label": rng.randint(dims.classes, size=count).astype(np.int64)
        for split in ("train", "test")
    }
    return images | labels
