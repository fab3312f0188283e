"""What a spec may hold, and what is wrong with one: by name, place and line.

Parent half. The reference workloads (the TOML files beside this one) and the workloads of a pilot
file are read by the same models; ``bench.pilot_file`` adds what a pilot needs beside workloads.
Errors are ``UsageError`` (bench.errors): the first one, with its line and the nearest right name.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import Field, PositiveFloat, PositiveInt, Tag, ValidationError

from bench.dims import Dims
from bench.errors import UsageError
from bench.parity import STEPS
from workloads import Source
from workloads.tables import TABLES, DimsTable, Table

Count = Annotated[int, Field(ge=0)]
Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]

HEADER = re.compile(r"\s*\[([^\[\]]+)\]")
KEY = re.compile(r"\s*([\w.\"'-]+)\s*=")

UNIONS = ("dims", "data")
KINDS = (*TABLES, "name", "table of text", "table of images", "table of tokens")
"""Tags of what these keys may hold."""

FOLDER = "folder"
"""Of the file that is read, for those validators that place other files."""

T = TypeVar("T", bound="Table")


class OptimizerTable(Table):
    """``sgd``: L2 in the gradient. ``adamw``: decoupled decay."""

    name: Literal["sgd", "adamw"]
    lr: Number
    weight_decay: Number = 0.0
    momentum: Number = 0.0
    beta1: Number = 0.9
    beta2: Number = 0.999
    eps: Number = 1e-8


class OptimizerChanges(Table):
    """The keys that one size has of its own."""

    name: Literal["sgd", "adamw"] | None = None
    lr: Number | None = None
    weight_decay: Number | None = None
    momentum: Number | None = None
    beta1: Number | None = None
    beta2: Number | None = None
    eps: Number | None = None


class RunTable(Table):
    """How one size of a workload is run."""

    batch: PositiveInt = Field(description="samples of a step")
    steps_min: PositiveInt = Field(10, description="measure at least so many steps ...")
    measure_s: Number = Field(8.0, description="... and so many seconds")
    warmup_cap: PositiveInt = Field(12, description="most blocks of warm-up")
    deadline_s: PositiveFloat = Field(1800.0, description="after this a cell is a timeout")
    estimate_s: PositiveFloat = Field(60.0, description="rough time of a cell, to tell progress")
    memory_mib: PositiveInt = Field(4000, description="about the most that a worker holds")
    gate_batch: Count = Field(0, description="samples of the parity gate's batch; 0: batch")
    train_batches: int = Field(
        16, ge=STEPS, description="distinct batches, all on the device; the gate trains with five"
    )
    quality_steps: Count | None = Field(None, description="steps of --quality")
    quality_lr: Number | None = Field(None, description="rate of --quality")
    target: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="held-out accuracy that --target trains to"
    )
    optimizer: OptimizerChanges = OptimizerChanges()


DataName = Literal["digits", "sentences", "reviews", "noise"]
WeightsName = Literal["seeded", "minilm"]


class SizeTable(RunTable):
    """A size of a reference workload, and, where that has a network, what it is."""

    data: DataName = Field(
        "noise", description="what it is run on; in noise there is nothing to be learned"
    )
    weights: WeightsName = Field("seeded", description="what it starts from")
    dims: DimsTable | None = None

    def shapes(self, _name: str) -> Dims | None:
        return self.dims.dims() if self.dims else None

    def data_source(self) -> Source:
        return self.data

    def weights_source(self) -> Source:
        return self.weights


class Workload(Table):
    """One workload: its models, and its sizes by name."""

    about: str = ""
    models: list[Literal["cnn", "transformer", "decoder", "lora", "module"]] = Field(min_length=1)
    optimizer: OptimizerTable | None = None
    batches: list[PositiveInt] = Field([], description="run one after the other; none: the size's")
    size: dict[str, SizeTable] = Field({}, description="none where only a user brings one")


def read(path: Path, kind: type[T]) -> T:
    """A file as ``kind``; what it names by a path is beside it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    try:
        given = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # numbers of 5,000 digits, brackets in brackets
        raise UsageError(f"{path.name} is not TOML: {error}") from error
    try:
        return kind.model_validate(given, context={FOLDER: path.parent.absolute()})
    except ValidationError as error:
        raise UsageError(f"{path.name}{explain(error, kind, text)}") from error


def explain(error: ValidationError, kind: type[Table], text: str) -> str:
    """The first error: ``, line 7: size.tiny.batch ...``. A misspelt key comes before what then is
    missing.
    """
    found = error.errors(include_url=False)
    first = min(found, key=lambda one: one["type"] != "extra_forbidden")
    place: list[str] = []
    before: int | str = ""
    for part in first["loc"]:
        if before not in UNIONS or part not in KINDS:  # what follows names the kind, not a key
            place.append(str(part))
        before = part
    line = line_of(text, place)
    at = f", line {line}: " if line else ": "
    return f"{at}{'.'.join(place)}: {_words(first, kind)}"


def _words(first: Mapping[str, Any], kind: type[Table]) -> str:
    """One error as a sentence."""
    name = str(first["loc"][-1]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        known = fields_at(kind, first["loc"][:-1])
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"there is no such key: {hint}one of {', '.join(known)}"
    if first["type"] == "missing":
        return "it is missing"
    said = str(first["msg"]).removeprefix("Value error, ")
    given = first["input"]
    shown = "" if isinstance(given, Mapping | list) else f", not {given!r}"
    return f"{said[0].lower()}{said[1:]}{shown}"


def fields_at(kind: Any, place: Sequence[int | str]) -> list[str]:
    """The keys of the table at a place in ``kind``."""
    for part in place:
        kind = _inside(kind, part)
    return list(kind.model_fields)


def _inside(kind: Any, part: int | str) -> Any:
    """What ``kind`` holds at ``part``: a field's type, a mapping's values, a union's member."""
    if isinstance(kind, type) and issubclass(kind, Table):
        return _bare(kind.model_fields[str(part)].annotation)
    if get_origin(kind) is dict:
        return _bare(get_args(kind)[1])
    members = [_bare(one) for one in get_args(kind) if part in _tags(one)]
    return members[0] if members else _bare(get_args(kind)[0])


def _bare(kind: Any) -> Any:
    """Without what annotates it, and without the None that it may be instead."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    some = [one for one in get_args(kind) if one is not type(None)]
    return _bare(some[0]) if type(None) in get_args(kind) and len(some) == 1 else kind


def _tags(kind: Any) -> list[str]:
    return [one.tag for one in get_args(kind) if isinstance(one, Tag)]


def line_of(text: str, place: Sequence[str]) -> int | None:
    """Where a key is, or the nearest table around it that has a line of its own.

    tomllib keeps no positions. Tables are found by their headers, keys by the lines below; a key in
    an inline table is found by the line of that table.
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := HEADER.match(line):
            table = _parts(header[1])
            found.setdefault(table, number)
        elif key := KEY.match(line):
            found.setdefault((*table, *_parts(key[1])), number)
    for length in range(len(place), 0, -1):
        if tuple(place[:length]) in found:
            return found[tuple(place[:length])]
    return None


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
