"""The workload specs: TOML files beside this one, read into typed values.

A spec is plain data: ``models``, ``[size.NAME]`` with the run's figures and, where the workload
has a network of its own, ``[size.NAME.dims]`` and ``[optimizer]``, of which a size may change
keys in ``[size.NAME.optimizer]``. A spec without dims (``export``) runs the models of other
specs and takes shapes and optimizer from the spec that has the model's name.

Errors are ``UsageError`` (bench.errors): an unknown name, a size that is not there, a spec
with a key, a type or a value that makes no sense.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from bench.contract import CnnDims, Dims, EncoderDims, Optimizer
from bench.errors import UsageError, unknown

FOLDER = Path(__file__).resolve().parent
SIZES = ("tiny", "small", "base", "large")
MADE_UP = ("base", "large")
"""Sizes whose data is drawn, with nothing in it to be learned: they measure computing only."""

T = TypeVar("T")


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


def names() -> tuple[str, ...]:
    """The workloads that have a spec, the training ones first."""
    order = ("cnn", "transformer", "export")
    found = {path.stem for path in FOLDER.glob("*.toml")}
    return tuple(n for n in order if n in found) + tuple(sorted(found - set(order)))


def models(workload: str) -> tuple[str, ...]:
    """The models that a workload runs."""
    return tuple(_spec(workload)["models"])


def size(workload: str, model: str, size: str) -> SizeSpec:
    """The spec of one workload, model and size."""
    spec = _spec(workload)
    if model not in spec["models"]:
        raise unknown(f"model of workload {workload}", model, spec["models"])
    table, where = _table(workload, size), f"{workload}.toml [size.{size}]"
    for key in table:
        if key not in _fields(SizeSpec):
            raise unknown(f"key in {where}", key, _fields(SizeSpec))
    run = {key: value for key, value in table.items() if key in _fields(Run)}
    typed = _typed(Run, run, where=where)
    if not typed.batch:
        raise UsageError(f"{where} batch must be at least 1")
    network = _network(workload if "dims" in table else model, size)
    return SizeSpec(**_values(typed), **_values(network))


def _network(workload: str, size: str) -> Network:
    """The network of a spec that has one of its own."""
    table, where = _table(workload, size), f"{workload}.toml [size.{size}]"
    rest = {key: value for key, value in table.items() if key in ("quality_steps", "quality_lr")}
    return _typed(
        Network,
        {
            **rest,
            "dims": _dims(table.get("dims", {}), where=f"{workload}.toml [size.{size}.dims]"),
            "optimizer": _typed(
                Optimizer,
                {**_spec(workload).get("optimizer", {}), **table.get("optimizer", {})},
                where=f"{workload}.toml [optimizer]",
            ),
        },
        where=where,
    )


def _dims(table: Mapping[str, Any], *, where: str) -> Dims:
    if "widths" in table:
        cnn = _typed(CnnDims, table, where=where)
        if len(cnn.widths) != len(cnn.blocks):
            raise UsageError(f"{where}: widths and blocks must be equally long")
        if cnn.stem not in ("3x3", "7x7"):
            raise unknown(f"stem in {where}", cnn.stem, ("3x3", "7x7"))
        return cnn
    encoder = _typed(EncoderDims, table, where=where)
    if encoder.width % encoder.heads:
        raise UsageError(
            f"{where}: width {encoder.width} must be a multiple of heads {encoder.heads}"
        )
    if encoder.sequence > encoder.positions:
        raise UsageError(f"{where}: sequence {encoder.sequence} is longer than positions")
    return encoder


def _table(workload: str, size: str) -> Mapping[str, Any]:
    sizes: Mapping[str, Any] = _spec(workload)["size"]
    if size in sizes:
        return dict(sizes[size])
    if size in SIZES:
        there = ", ".join(sizes)
        raise UsageError(f"size {size!r} is not there yet for {workload}: use {there}")
    raise unknown("size", size, SIZES)


def _spec(workload: str) -> Mapping[str, Any]:
    if workload not in names():
        raise unknown("workload", workload, names())
    return read(FOLDER / f"{workload}.toml")


@functools.cache
def read(path: Path) -> Mapping[str, Any]:
    """One spec file as tables; checks the top level only, ``size`` checks the rest."""
    # Not at the top: workers import this package under Pythons that have no tomllib.
    import tomllib  # noqa: PLC0415

    try:
        spec = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the workload spec {path.name}: {error}") from error
    for key in spec:
        if key not in ("about", "models", "optimizer", "size"):
            raise unknown(f"key in {path.name}", key, ("about", "models", "optimizer", "size"))
    if not spec.get("models") or not spec.get("size"):
        raise UsageError(f"{path.name} needs models = [...] and a table [size.NAME]")
    return spec


def _fields(kind: Any) -> tuple[str, ...]:
    return tuple(item.name for item in dataclasses.fields(kind))


def _values(item: Any) -> dict[str, Any]:
    """One level of a dataclass; ``asdict`` would take the nested ones apart too."""
    return {name: getattr(item, name) for name in _fields(item)}


def _typed(kind: type[T], table: Mapping[str, Any], *, where: str) -> T:
    """Make ``kind`` from a table: no key unknown, none missing, each of its declared type."""
    hints = get_type_hints(kind)
    for key in table:
        if key not in hints:
            raise unknown(f"key in {where}", key, hints)
    for item in dataclasses.fields(kind):  # type: ignore[arg-type]  # T is a dataclass here
        if item.default is dataclasses.MISSING and item.name not in table:
            raise UsageError(f"{where} lacks {item.name}")
    return kind(**{key: _value(hints[key], table[key], f"{where} {key}") for key in table})


def _value(hint: Any, value: Any, where: str) -> Any:
    """``value`` as the type that was declared; numbers in a spec are counts, times and rates."""
    if hint is float and type(value) is int:
        value = float(value)
    if hint == tuple[int, ...] and isinstance(value, list):
        value = tuple(_value(int, item, where) for item in value)
    elif hint in (int, float, str, bool) and type(value) is not hint:
        raise UsageError(f"{where} must be {hint.__name__}, not {value!r}")
    if type(value) in (int, float) and value < 0:
        raise UsageError(f"{where} must not be negative, not {value!r}")
    return value
