"""The specs by their names: the reference workloads, and those of a pilot file.

A spec has ``models``, ``[size.NAME]`` with the run's figures and, where the workload has a
network of its own, ``[size.NAME.dims]`` and ``[optimizer]``, of which a size may change keys in
``[size.NAME.optimizer]``. A spec without dims (``export``) runs the models of other specs and takes
shapes and optimizer from the spec that has the model's name.

Errors are ``UsageError`` (bench.errors): an unknown name, a size that is not there, a spec
with a key, a type or a value that makes no sense.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import workloads
from bench.contract import Optimizer
from bench.errors import UsageError, unknown
from workloads import SIZES, Network, Run, SizeSpec, spec
from workloads.spec import SizeTable, Workload


@dataclass(frozen=True)
class Catalogue:
    """The reference workloads and ``own``, those of a pilot file."""

    own: Mapping[str, Workload] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """Of all workloads, the training ones first, the user's own last."""
        order = ("cnn", "transformer", "export")
        found = {path.stem for path in workloads.FOLDER.glob("*.toml")}
        known = tuple(n for n in order if n in found) + tuple(sorted(found - set(order)))
        return known + tuple(name for name in self.own if name not in known)

    def sizes(self) -> tuple[str, ...]:
        """The names of sizes that any workload may have."""
        own = (size for workload in self.own.values() for size in workload.size)
        return tuple(dict.fromkeys((*SIZES, *own)))

    def models(self, workload: str) -> tuple[str, ...]:
        """The models that a workload runs."""
        return tuple(self._spec(workload).models)

    def size(self, workload: str, model: str, size: str) -> SizeSpec:
        """The spec of one workload, model and size."""
        if model not in self.models(workload):
            raise unknown(f"model of workload {workload}", model, self.models(workload))
        table = self._table(workload, size)
        run = {name: getattr(table, name) for name in _fields(Run)}
        network = self._network(workload if table.dims else model, size)
        return SizeSpec(**run, **{name: getattr(network, name) for name in _fields(Network)})

    def _network(self, workload: str, size: str) -> Network:
        """The network of a spec that has one of its own."""
        table, optimizer = self._table(workload, size), self._spec(workload).optimizer
        if table.dims is None or optimizer is None:
            raise UsageError(f"workload {workload} has no [optimizer], or no [size.{size}.dims]")
        changes = table.optimizer.model_dump(exclude_none=True)
        return Network(
            dims=table.dims.dims(),
            optimizer=Optimizer(**{**optimizer.model_dump(), **changes}),
            quality_steps=table.quality_steps or 0,
            quality_lr=table.quality_lr or 0.0,
            data=table.data,
            weights=table.weights,
        )

    def _table(self, workload: str, size: str) -> SizeTable:
        sizes = self._spec(workload).size
        if size not in self.sizes():
            raise unknown("size", size, self.sizes())
        if size not in sizes:
            there = ", ".join(sizes)
            raise UsageError(f"size {size!r} is not there yet for {workload}: use {there}")
        return sizes[size]

    def _spec(self, workload: str) -> Workload:
        if workload not in self.names():
            raise unknown("workload", workload, self.names())
        path = workloads.FOLDER / f"{workload}.toml"
        return self.own[workload] if workload in self.own else read(path)


REFERENCE = Catalogue()
names, models, size = REFERENCE.names, REFERENCE.models, REFERENCE.size


@functools.cache
def read(path: Path) -> Workload:
    """One spec file."""
    return spec.read(path, Workload)


def _fields(kind: Any) -> tuple[str, ...]:
    return tuple(item.name for item in dataclasses.fields(kind))
