"""A pilot's folder: what every machine that has a share of it reads and writes.

``plan.json``: what is to be run, cut into shares. ``rows/SHARE.N.csv``: what try N at a share has
measured, a results file of its own, so that no two tries ever write into one file, not even where a
lost machine comes back. ``jobs/N.json``: what was handed to the engine. ``log/``: the engine's.
``manifests/``: what was written for the user to start.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    field_validator,
)

from bench.contract import Cell
from bench.errors import UsageError
from bench.rows import files
from bench.rows.schema import Row

VERSION = 1
COMMANDS = "commands.txt"
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,120}$")]
Plain = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
Option = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
RUN_ID = r"[0-9a-f]{8}"
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"  # of DNS (RFC 1123)
CLAIM = rf"{LABEL}(\.{LABEL})*"
IMAGE = r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}"
PLACE = r"/[^\x00-\x1f\x7f-\x9f]*"
Key = tuple[str, int]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Share(_Record):
    """Cells that will be compared, with all their repeats: one job, on one machine.

    keys: cell_id and repeat.
    """

    name: Name
    keys: list[Key]


class How(_Record):
    """The engine's options. They end in a job's script, a manifest or a Dockerfile, so no value has
    a line of its own in it.
    """

    time: int = Field(gt=0)
    partition: Plain = ""
    gres: Plain = ""
    account: Plain = ""
    namespace: str = Field(default="", pattern=rf"^({LABEL})?$")
    image: str = Field(default="", pattern=rf"^({IMAGE})?$")
    base: str = Field(default="", pattern=rf"^({IMAGE})?$")
    claim: str = Field(default="", max_length=253, pattern=rf"^({CLAIM})?$")
    mount: str = Field(default="", pattern=rf"^({PLACE})?$")
    array_parallelism: int = Field(default=256, gt=0)
    set: dict[Option, Plain] = {}


CELL = TypeAdapter(Cell)


class Plan(_Record):
    """argv: the options of ``bench run``, as they hold in the folder ``cwd``. cells: by id, as
    ``Cell.to_json``.
    """

    version: int = VERSION
    run_id: str = Field(pattern=rf"^{RUN_ID}$")
    git_rev: str
    cwd: str
    argv: list[str]
    engine: str
    how: How
    shares: list[Share]
    cells: dict[str, dict[str, Any]]

    @field_validator("cells")
    @classmethod
    def _are_cells(cls, cells: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for cell_id, one in cells.items():
            CELL.validate_python(one)  # the types, which ``from_json`` does not look at
            if Cell.from_json(one).id != cell_id:
                raise ValueError(f"the cell {cell_id[:80]!r} is another")
        return cells

    @property
    def minutes(self) -> int:
        """What a job may take."""
        return self.how.time

    def cell(self, cell_id: str) -> Cell:
        """UsageError where a share has a cell that the plan does not describe."""
        if cell_id not in self.cells:
            raise UsageError(f"plan.json is damaged, it has no cell {cell_id[:80]!r}: submit anew")
        return Cell.from_json(self.cells[cell_id])


class Jobs(_Record):
    """One submission: the engine's id of the job that each share is in."""

    submitted_at: datetime
    ids: dict[Name, str]


class PilotFolder:
    """The folder of one pilot, on a file system that all machines share."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.rows = self.path / "rows"
        self.jobs = self.path / "jobs"
        self.log = self.path / "log"
        self.manifests = self.path / "manifests"

    def create(self, plan: Plan) -> None:
        """UsageError where there is one already, or it cannot be written."""
        try:
            for folder in (self.path, self.rows, self.jobs, self.log):
                folder.mkdir(parents=True, exist_ok=True)
            with (self.path / "plan.json").open("x", encoding="utf-8") as file:
                file.write(plan.model_dump_json(indent=1))
        except FileExistsError as error:
            mend = f"name another folder, or go on with it: bench submit --resume {self.path}"
            raise UsageError(f"{self.path} holds a pilot already: {mend}") from error
        except OSError as error:
            raise UsageError(f"cannot write {self.path}: {error.strerror}") from error

    def plan(self) -> Plan:
        """UsageError where it is no pilot's folder."""
        found: Plan = _read(self.path / "plan.json", Plan)
        if found.version != VERSION:
            raise UsageError(f"{self.path} is of another version of this program: submit anew")
        return found

    def submissions(self) -> list[Jobs]:
        """The oldest first."""
        ours = [path for path in self.jobs.glob("*.json") if path.stem.isdigit()]
        found = sorted(ours, key=lambda path: int(path.stem))
        return [_read(path, Jobs) for path in found]

    def submitted(self, jobs: Jobs) -> None:
        """Keep what was submitted, all of it or nothing."""
        number = len(self.submissions()) + 1
        part = self.jobs / f"{number}.part"
        part.write_text(jobs.model_dump_json(indent=1), encoding="utf-8")
        part.replace(self.jobs / f"{number}.json")

    def attempt(self, share: str) -> files.ResultFile:
        """A new results file for one more try at a share."""
        number = 1 + max((number for number, _ in self._attempts(share)), default=0)
        while True:
            path = self.rows / f"{share}.{number}.csv"
            try:
                return files.ResultFile.create(path)
            except UsageError:
                if not path.exists():
                    raise
                number += 1  # another machine took it at the same moment

    def finished(self, share: str) -> dict[Key, tuple[Path, Row]]:
        """What tries at a share have finished: of each cell and repeat the first."""
        found: dict[Key, tuple[Path, Row]] = {}
        for _, path in self._attempts(share):
            for row in files.finished(path):
                found.setdefault((row["cell_id"], row["repeat"]), (path, row))
        return found

    def end(self, share: str) -> str:
        """Why the last try at a share ended early, in its own words; empty where it did not say."""
        for _, path in reversed(self._attempts(share)):
            with suppress(FileNotFoundError):
                return path.with_suffix(".end").read_text(encoding="utf-8").strip()[:200]
            return ""
        return ""

    def _attempts(self, share: str) -> list[tuple[int, Path]]:
        return sorted(_numbered(share, self.rows.glob(f"{share}.*.csv")))


def _numbered(share: str, paths: Iterator[Path]) -> Iterator[tuple[int, Path]]:
    for path in paths:
        number = path.name.removeprefix(f"{share}.").removesuffix(".csv")
        if number.isdigit():
            yield int(number), path


def _read(path: Path, kind: Any) -> Any:
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{path.parent} is no folder of bench submit: no {path.name}") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"{path} is damaged ({first}): submit anew into another folder") from error
