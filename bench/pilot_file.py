"""The pilot file: what to run, on what, within which limits, and how to weigh what comes out.

Parent half. ``bench run``, ``score``, ``shortlist`` and ``report`` take it with ``--spec FILE``
(bench.pilot_options). ``python -m bench.pilot_file`` prints its JSON schema, for editors; it is
committed as docs/pilot.schema.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from annotated_types import GroupedMetadata
from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, WithJsonSchema

from bench import backends_index, grid
from bench.accelerators import choose
from bench.capabilities import CAPABILITIES
from bench.errors import UsageError, unknown
from bench.schedule import SCHEDULES
from bench.score import TASKS, documents, musts
from workloads import SIZES, catalogue, spec
from workloads.catalogue import Catalogue
from workloads.own.tables import OwnSize
from workloads.spec import Number
from workloads.tables import Table

AUTO, DEFAULT = "auto", "default"
Share = Annotated[float, Field(ge=0, le=1)]
SizeName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,39}$")]


@dataclass(frozen=True, eq=False)  # typing hashes what annotates a type, and a schema cannot be
class Checked(GroupedMetadata):
    """A text that ``check`` does not refuse with a UsageError. schema: of it, for editors."""

    check: Callable[[str], object]
    schema: dict[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[object]:
        yield AfterValidator(self.checked)
        yield WithJsonSchema({"type": "string", **self.schema})

    def checked(self, text: str) -> str:
        try:
            self.check(text)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return text


@dataclass(frozen=True)
class OneOf(GroupedMetadata):
    """One of the known names."""

    what: str
    known: Sequence[str]

    def __iter__(self) -> Iterator[object]:
        yield from Checked(self.check, {"enum": list(self.known)})

    def check(self, text: str) -> None:
        if text not in self.known:
            raise unknown(self.what, text, self.known)


@dataclass(frozen=True)
class Some(GroupedMetadata):
    """A list of texts, each of them ``one``; ``all`` stands alone."""

    one: OneOf | Checked

    def __iter__(self) -> Iterator[object]:
        (schema,) = (part for part in self.one if isinstance(part, WithJsonSchema))
        yield AfterValidator(self.checked)
        yield WithJsonSchema({"type": "array", "minItems": 1, "items": schema.json_schema})

    def checked(self, texts: list[str] | None) -> list[str] | None:
        if texts is not None and not texts:
            raise ValueError("an empty list asks for nothing: leave the key out")
        for text in texts or ():
            Checked(self.one.check).checked(text)
        if texts and grid.EVERY in texts and len(texts) > 1:
            raise ValueError(f"{grid.EVERY!r} stands alone")
        return texts


def _some(what: str, known: Sequence[str]) -> Some:
    return Some(OneOf(what, (*known, grid.EVERY)))


def _device(text: str) -> None:
    kind, _ = choose.named(text)
    if kind not in (known := (AUTO, *grid.DEVICES)):
        raise unknown("device", kind, known)


def _profile(text: str) -> None:
    """Of the documents' file, which is read only where a pilot names one."""
    if text not in (known := documents.profiles()):
        raise unknown("profile", text, known)


class Budget(Table):
    """When it is enough."""

    repeats: PositiveInt | None = Field(default=None, description="fresh processes of each cell")
    precision_target: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="repeat until each ratio between backends is known to this ..."
    )
    max_minutes: PositiveFloat | None = Field(
        default=None, description="... or another repeat would take longer"
    )
    timeout_s: PositiveFloat | None = Field(default=None, description="deadline of a cell")
    memory_limit_mib: PositiveInt | None = Field(
        default=None, description="end a cell that grows past it"
    )


class Constraints(Table):
    """Without which a backend is not on the shortlist."""

    must: list[Annotated[str, Checked(musts.parsed, {"examples": ["export:onnx"]})]] = Field(
        default=[], description="train, infer, maintained, export:onnx, device:cuda, precision:bf16"
    )
    max_host_mib: PositiveFloat | None = Field(default=None, description="host memory of any cell")
    max_export_mib: PositiveFloat | None = Field(default=None, description="exported file")
    max_start_s: PositiveFloat | None = Field(
        default=None, description="import and load before the first answer"
    )
    max_serving_mib: PositiveFloat | None = Field(
        default=None, description="host memory while serving"
    )
    max_p99_ms: PositiveFloat | None = Field(
        default=None, description="latency at the 99th percentile"
    )


class Score(Table):
    """How what was measured is weighed."""

    profile: Annotated[str, Checked(_profile)] | None = None
    weights: dict[Annotated[str, OneOf("criterion", documents.CRITERIA)], Share] = Field(
        default={}, description="single weights; the others are rescaled"
    )
    task: Annotated[str, OneOf("task", TASKS)] | None = None
    trust_prior: Number | None = Field(
        default=None, description="how many measured sub-scores a document's score is worth"
    )
    prices: dict[str, PositiveFloat] = Field(
        default={}, description="of an hour, by the device's name"
    )


class PilotFile(Table):
    """One pilot. What is left out is as it is without a file."""

    backends: Annotated[list[str] | None, _some("backend", backends_index.names())] = None
    devices: Annotated[list[str] | None, Some(Checked(_device))] = None
    workloads: Annotated[list[str] | None, _some("workload", catalogue.names())] = None
    sizes: list[str] | None = Field(default=None, description="of the reference, or of this file")
    precisions: Annotated[list[str] | None, _some("precision", grid.PRECISIONS)] = None
    modes: Annotated[list[str] | None, _some("mode", (DEFAULT, *grid.MODES))] = None
    tracks: Annotated[list[str] | None, _some("track", grid.TRACKS)] = None
    formats: Annotated[list[str] | None, _some("format", grid.FORMATS)] = None
    capabilities: Annotated[list[str] | None, _some("capability", tuple(CAPABILITIES))] = None
    batches: list[PositiveInt] | None = None
    world_sizes: list[PositiveInt] | None = None
    threads: PositiveInt | None = None
    quality: bool = Field(default=False, description="also train for real, for the accuracy")
    target: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="also train until the held-out accuracy is that, over seeds"
    )
    schedule: Annotated[str, OneOf("schedule", SCHEDULES)] | None = None
    cluster: str | None = Field(default=None, description="the rows go to results/<cluster>")
    settings: dict[str, list[str]] = Field(
        default={}, description="a backend's own, and their values"
    )
    python: dict[Annotated[str, OneOf("backend", backends_index.names())], str] = Field(
        default={}, description="interpreters of the site's own"
    )
    budget: Budget = Budget()
    constraints: Constraints = Constraints()
    score: Score = Score()
    size: dict[SizeName, OwnSize] = Field(
        default={}, description="models with dimensions of your own"
    )

    def specs(self) -> Catalogue:
        """The reference workloads and this file's sizes."""
        return Catalogue(own=self.size)


def read(path: Path) -> PilotFile:
    """UsageError with the line of what is wrong, and the nearest right name."""
    found = spec.read(path, PilotFile)
    for name in found.size:
        if name in SIZES:
            raise UsageError(f"{path.name}: [size.{name}] is one of the reference's: rename it")
    for name in found.sizes or ():
        if name not in (known := (*SIZES, *found.size, grid.EVERY)):
            raise UsageError(f"{path.name}: sizes: {unknown('size', name, known)}")
    return found


def schema() -> str:
    return json.dumps(PilotFile.model_json_schema(), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema())
