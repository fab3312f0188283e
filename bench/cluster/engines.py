"""What a pilot needs of an engine that runs jobs: four functions, so that another is one file."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bench.cluster.plan import Plan
from bench.contract import BenchError

ENGINES = {
    "kubernetes": "manifests and Dockerfiles, written and not applied (--dry-run)",
    "local": "this machine, one share after another",
    "slurm": "one array of jobs, a share each",
}
WRITTEN = frozenset({"kubernetes"})
"""Those whose jobs the user starts: bench writes what is needed, and never runs it."""


class EngineError(BenchError):
    """The engine did not do what was asked; one line with the mend."""


class State(NamedTuple):
    """Of one job. ended: it will write no more. word: the engine's own, such as ``TIMEOUT``."""

    ended: bool
    word: str


class Engine(Protocol):
    """A module with these functions."""

    def plan(self, shares: Sequence[str], pilot: Plan) -> list[list[str]]:
        """The shares of each job. UsageError where the engine cannot have such a pilot."""

    def submit(
        self, commands: Sequence[Sequence[str]], *, log: Path, how: Mapping[str, Any]
    ) -> list[str]:
        """One job for each command; the jobs' ids. EngineError."""

    def states(self, ids: Sequence[str]) -> dict[str, State]:
        """Of the jobs that the engine knows. EngineError where it does not answer."""

    def cancel(self, ids: Sequence[str]) -> None:
        """End what waits or runs. EngineError."""


def named(name: str) -> Engine:
    module: Any = importlib.import_module(f"bench.cluster.{name}")
    return module  # type: ignore[no-any-return]
