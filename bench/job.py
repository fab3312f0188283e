"""What the parent asks one worker process for; written by one half, read by the other."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.contract import Cell
from bench.rendezvous import HERE, Rendezvous

PATHS = ("weights", "data", "trace", "exported", "logits", "commands", "replies", "row")


@dataclass(frozen=True)
class Job:
    """One process's work; all paths are absolute.

    role: "train"; "export", which writes the file; "serve", which climbs the ladder with it;
    "generate", which serves a decoder; "try", which asks for a capability; "devices", which asks
    what there is; "check", which asks how an adapter keeps its contract; "infer", which puts a
    model file of the user's under load.
    exported: the folder of the exported file; logits: a folder of the exporter's own.
    commands, replies: named pipes. row: where the worker leaves what it has measured so far.
    parent: the process id of the harness. rival: module of a public model to measure against.
    capabilities: module of the adapter's functions for a capability's cell.
    train_batches: distinct batches that the timed loop cycles over. seed: of the order of samples.
    visible: environment variables that say which devices its processes may see.
    ranks: processes that the framework's launcher starts here, 1 where it starts none; rank_env:
    where it says which of all one is, its rank. rendezvous: where they meet the other machines'.
    """

    role: str
    cell: Cell
    module: str
    weights: Path
    data: Path
    trace: Path
    exported: Path
    logits: Path
    commands: Path
    replies: Path
    row: Path
    cpus: list[int]
    parent: int
    quality_steps: int = 0
    quality_lr: float = 0.0
    train_batches: int = 16
    seed: int = 0
    rival: str = ""
    capabilities: str = ""
    ranks: int = 1
    rank_env: str = ""
    rendezvous: Rendezvous = HERE
    rank: int = 0
    visible: Mapping[str, str] = field(default_factory=dict)

    @property
    def launched(self) -> bool:
        """Whether the framework's launcher starts the processes."""
        return bool(self.rank_env) and self.cell.world_size > 1

    def of_rank(self, place: int) -> Job:
        """Of one of the processes here, the same with its rank among all; and with pipes and a row
        of its own, unless it is the first.
        """
        own = {name: getattr(self, name) for name in ("commands", "replies", "row")}
        named = {name: path.with_name(f"{place}-{path.name}") for name, path in own.items()}
        rank = self.rendezvous.node_rank * self.ranks + place
        return dataclasses.replace(self, rank=rank, **(named if place else {}))

    def write(self, path: Path) -> None:
        raw = dataclasses.asdict(self)
        raw.update({key: str(raw[key]) for key in PATHS})
        path.write_text(json.dumps(raw))

    @classmethod
    def read(cls, path: Path) -> Job:
        raw = json.loads(path.read_text())
        raw.update({key: Path(raw[key]) for key in PATHS})
        raw["cell"] = Cell.from_json(raw["cell"])
        raw["rendezvous"] = Rendezvous(**raw["rendezvous"])
        return cls(**raw)
