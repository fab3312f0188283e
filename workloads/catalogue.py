"""The specs by their names: the reference workloads, with the sizes that a pilot file adds.

A spec has ``models``, ``[size.NAME]`` with the run's figures and, where the workload has a
network of its own, ``[size.NAME.dims]`` and ``[optimizer]``, of which a size may change keys in
``[size.NAME.optimizer]``. A spec without dims (``export``) runs the models of other specs and takes
shapes and optimizer from the model's home: the first spec that trains it.

Errors are ``UsageError`` (bench.errors): an unknown name, a size that is not there, a spec
with a key, a type or a value that makes no sense.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import workloads
from bench.contract import Optimizer
from bench.errors import UsageError, unknown
from workloads import SIZES, Network, Run, SizeSpec, facts, spec
from workloads.own import modules
from workloads.own.tables import OwnSize
from workloads.spec import OptimizerChanges, SizeTable, Workload

USUAL = "small"
"""Where a workload has no network of its own, a size of the user's runs as this one does."""


CAREFUL = "base"
"""Whose rate a size of the user's has: low, so that the gate sees no amplified rounding."""


@dataclass(frozen=True)
class Catalogue:
    """The reference workloads, and ``own``: the sizes of a pilot file, each of one model."""

    own: Mapping[str, OwnSize] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """Of all workloads, the training ones first."""
        order = ("cnn", "transformer", "llm", "lora", "generate", "module", "export")
        found = {path.stem for path in workloads.FOLDER.glob("*.toml")}
        return tuple(n for n in order if n in found) + tuple(sorted(found - set(order)))

    def sizes(self) -> tuple[str, ...]:
        """The names of sizes that any workload may have."""
        return (*SIZES, *self.own)

    def models(self, workload: str) -> tuple[str, ...]:
        """The models that a workload runs."""
        return tuple(self._spec(workload).models)

    def batches(self, workload: str) -> tuple[int, ...]:
        """Those that are run where none is asked for; none: its sizes' own."""
        return tuple(self._spec(workload).batches)

    def home(self, model: str) -> str:
        """The workload that trains a model, and whose spec has its network."""
        for name in self.names():
            if self._spec(name).optimizer is not None and model in self.models(name):
                return name
        raise UsageError(f"no workload trains the model {model}")

    def sizes_of(self, model: str) -> tuple[str, ...]:
        """The sizes that are there of a model."""
        return tuple(self._spec(self.home(model)).size)

    def of_model(self, model: str, size: str) -> SizeSpec:
        """The spec of a model and size, as its own workload has it."""
        return self.size(self.home(model), model, size)

    def has(self, model: str, size: str) -> bool:
        """Whether a model may have a size: the user's own are of one model each, and a module is
        always the user's.
        """
        return self.own[size].model == model if size in self.own else model != modules.MODEL

    def executed(self, sizes: Iterable[str]) -> list[str]:
        """The factories of the user's own code that runs where these sizes do."""
        named = (self.own[size].module for size in sizes if size in self.own)
        return [factory for factory in named if factory]

    def size(self, workload: str, model: str, size: str) -> SizeSpec:
        """The spec of one workload, model and size."""
        if model not in self.models(workload):
            raise unknown(f"model of workload {workload}", model, self.models(workload))
        table = self._table(workload, size)
        run = {name: getattr(table, name) for name in _fields(Run)}
        network = self._network(workload if table.dims else self.home(model), size)
        return SizeSpec(**run, **{name: getattr(network, name) for name in _fields(Network)})

    def _network(self, workload: str, size: str) -> Network:
        """The network of a spec that has one of its own."""
        table, optimizer = self._table(workload, size), self._spec(workload).optimizer
        dims = table.shapes(size)
        if dims is None or optimizer is None:
            raise UsageError(f"workload {workload} has no [optimizer], or no [size.{size}.dims]")
        given = optimizer.model_dump()
        for changes in self._changes(workload, size):
            given |= changes.model_dump(exclude_none=True)
        return Network(
            dims=dims,
            optimizer=Optimizer(**given),
            quality_steps=table.quality_steps or 0,
            quality_lr=table.quality_lr or 0.0,
            data=table.data_source(),
            weights=table.weights_source(),
            target=table.target or 0.0,
        )

    def _changes(self, workload: str, size: str) -> Iterator[OptimizerChanges]:
        """A size's own, on top of those of a large network where the user gives none."""
        sizes = self._spec(workload).size
        if size in self.own and CAREFUL in sizes:
            yield sizes[CAREFUL].optimizer
        yield self._table(workload, size).optimizer

    def _table(self, workload: str, size: str) -> SizeTable | OwnSize:
        sizes = self._spec(workload).size
        if size not in self.sizes():
            raise unknown("size", size, self.sizes())
        if own := self.own.get(size):
            if self.home(own.model) == workload:
                return own
            return sizes[USUAL if USUAL in sizes else next(iter(sizes))]
        if size not in sizes:
            there = ", ".join(sizes)
            raise UsageError(f"size {size!r} is not there yet for {workload}: use {there}")
        return sizes[size]

    def _spec(self, workload: str) -> Workload:
        if workload not in self.names():
            raise unknown("workload", workload, self.names())
        return read(workloads.FOLDER / f"{workload}.toml")


REFERENCE = Catalogue()
names, models, size = REFERENCE.names, REFERENCE.models, REFERENCE.size
of_model, sizes_of = REFERENCE.of_model, REFERENCE.sizes_of


def digest(network: Network) -> str:
    """Of all that is run: two sizes of one name may be different things on two machines. Of files
    their content: where they lie does not matter.
    """
    what = {name: getattr(network, name) for name in _fields(Network)}
    what |= {name: dataclasses.asdict(what[name]) for name in ("dims", "optimizer")}
    what |= {name: facts(what[name]) for name in ("data", "weights")}
    what["dims"].pop("path", None)  # of a module: its sources are there
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]


@functools.cache
def read(path: Path) -> Workload:
    """One spec file."""
    return spec.read(path, Workload)


def _fields(kind: Any) -> tuple[str, ...]:
    return tuple(item.name for item in dataclasses.fields(kind))
