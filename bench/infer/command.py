"""``bench run --workload infer --onnx FILE``: plan, measure, print; a JSON line for every load."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import platform
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

from bench import backends_index, envs, grid, machine, options
from bench.accelerators import choose
from bench.accelerators.ask import question
from bench.accelerators.devices import Devices
from bench.child.launch import Ended
from bench.contract import Cell
from bench.errors import EXIT_NO, EXIT_NOTHING, EXIT_OK, EnvError, UsageError, unknown
from bench.infer import options as own
from bench.infer.measure import Loads, Row, Variant
from bench.infer.table import lines
from bench.worker import feeds

PRECISIONS = ("fp32", "int8")
SCHEMA = 1


def run(arguments: argparse.Namespace) -> int:
    """Exit code 3 where no load was measured."""
    own.refuse_others(arguments)
    loads = _asked(arguments)
    cells = list(_cells(arguments))
    rows: list[Row] = []
    with _file(arguments) as (path, write):
        for cell, row in measure(cells, loads, arguments):
            known = identity(cell, loads, run_id=path.stem.rpartition("-")[2])
            rows.append(known | row)
            write(rows[-1])
            if not arguments.json:
                for line in lines([rows[-1]]):
                    print(line, flush=True)
    if arguments.json:
        print(json.dumps({"out": str(path), "rows": rows}))
    else:
        print(f"results: {path}")
    statuses = {row["status"] for row in rows}
    if "ok" not in statuses:
        return EXIT_NOTHING
    return EXIT_NO if arguments.strict and not statuses <= {"ok", "unsupported"} else EXIT_OK


def measure(
    cells: Sequence[Cell], loads: Loads, arguments: argparse.Namespace
) -> Iterator[tuple[Cell, Row]]:
    """Every variant in a fresh process, as often as asked; what the user can mend comes first."""
    pythons, asked = options.pythons(arguments.python), choose.named(arguments.device)[1]
    devices = Devices(asked, allow_busy=arguments.allow_busy)
    devices.check(cells)
    known: list[feeds.Input] = []
    for repeat, cell in product(range(1, (arguments.repeats or 1) + 1), cells):
        try:
            env = envs.resolve(cell.backend, cell.device, pythons=pythons, log=_quiet)
        except EnvError as error:
            yield cell, {"repeat": repeat, "status": "env_failed", "reason": str(error)}
            continue
        variant = Variant(cell, env, devices, loads)
        if loads.data is None:
            known = known or _inputs(variant)
            _check(known, cell, loads)
        for row in variant.rows():
            yield cell, {"repeat": repeat, **row}


def _inputs(variant: Variant) -> list[feeds.Input]:
    try:
        return variant.inputs()
    except Ended as ended:
        file = variant.loads.file
        raise UsageError(f"{file} cannot be read as a model: {ended.reason}") from ended


def _check(known: Sequence[feeds.Input], cell: Cell, loads: Loads) -> None:
    try:
        feeds.check(known, batch=cell.batch, sizes=loads.sizes)
    except feeds.FeedError as error:
        raise UsageError(f"{loads.file}: {error}") from error


def _asked(arguments: argparse.Namespace) -> Loads:
    for path in filter(None, (arguments.onnx, arguments.data)):
        if not path.is_file():
            raise UsageError(f"{path} is no file: name one that is there")
    return Loads(
        file=arguments.onnx.resolve(),
        data=arguments.data.resolve() if arguments.data else None,
        sizes=own.sizes(arguments.dim),
        rates=own.rates(arguments.rate),
        seconds=arguments.load_seconds,
        slo_ms=arguments.slo_ms,
        percentile=arguments.slo_percentile,
    )


def _cells(arguments: argparse.Namespace) -> Iterator[Cell]:
    """Backends that serve files, devices, precisions, batches, settings."""
    serving = [name for name in backends_index.names() if backends_index.find(name).serves]
    backends = grid.choose("backend that serves a file", arguments.backend or serving[0], serving)
    precisions = grid.choose("precision", arguments.precision, PRECISIONS)
    batches = options.counts("--batch", arguments.batch) or [1]
    asked = dict(map(options.setting, arguments.setting))
    choices = [dict(zip(asked, values, strict=True)) for values in product(*asked.values())]
    for backend, settings in product(backends, choices):
        _known(backend, settings)
        for device in _devices(backend, choose.named(arguments.device)[0]):
            cell = question(backend, device, settings)
            for precision, batch in product(precisions, batches):
                threads = options.threads(arguments)
                yield replace(cell, precision=precision, batch=batch, threads=threads)


def _devices(backend: str, text: str) -> list[str]:
    if text != "auto":
        return grid.choose("device", text, grid.DEVICES)
    likely = machine.likely_device()
    return [likely if likely in backends_index.find(backend).locks else "cpu"]


def _known(backend: str, settings: Mapping[str, str]) -> None:
    known = backends_index.find(backend).settings
    for key, value in settings.items():
        if key not in known:
            raise unknown(f"setting of {backend}", key, known)
        if known[key] and value not in known[key]:
            raise unknown(f"value of {key}", value, known[key])


@contextlib.contextmanager
def _file(arguments: argparse.Namespace) -> Iterator[tuple[Path, Callable[[Row], None]]]:
    """Flushed line by line, so that an interrupt loses at most the load that runs."""
    now, run_id = datetime.now(UTC), uuid.uuid4().hex[:8]
    default = Path("results/local") / f"{now:%Y%m%dT%H%M%SZ}-infer-{run_id}.jsonl"
    path = arguments.out or default
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("x", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; name another --out") from error
    wrote: list[int] = []

    def write(row: Row) -> None:
        wrote.append(stream.write(json.dumps(row) + "\n"))
        stream.flush()

    try:
        with stream:
            yield path, write
    finally:
        if not wrote:  # nothing was run, so the name is free for the next try
            path.unlink()


def identity(cell: Cell, loads: Loads, *, run_id: str) -> dict[str, Any]:
    """What is known of a row before anything is measured."""
    with loads.file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "schema": SCHEMA,
        "run_id": run_id,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
        "device": cell.device,
        "device_name": machine.device_name(cell.device),
        "backend": cell.backend,
        "file": loads.file.name,
        "sha256": digest,
        "data": loads.data.name if loads.data else "noise",
        "sizes": dict(loads.sizes),
        "precision": cell.precision,
        "batch": cell.batch,
        "threads": cell.threads,
        "asked": dict(cell.settings),
        "load1": machine.load1(),
        "git_rev": machine.git_rev(),
    }


def _quiet(_: str) -> None: ...
