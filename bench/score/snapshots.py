"""Support and ease, from dated snapshots that ``bench snapshot`` writes; docs/scoring.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path

from bench import backends_index
from bench.errors import UsageError
from bench.score.documents import records
from bench.score.evidence import Evidence, Subject, certain, half

FOLDER = Path(__file__).parents[2] / "results" / "snapshots"
SUPPORT, ENVIRONMENTS = "support.csv", "environments.csv"
PYTHONS = ("3.14", "3.13", "3.12", "3.11")
"""Interpreters that a release may serve, the newest first (3.14 is of October 2025)."""

AGE_HALF_DAYS = 180.0  # half a year without a release: half the marks
OFTEN = 6.0  # releases in two years that are worth half the marks
PYTHON_HALF = 2.0  # two versions of Python behind
SIZE_HALF_MIB = 2048.0
INSTALL_HALF_S = 120.0


def support(backends: Iterable[str], folder: Path = FOLDER) -> list[Evidence]:
    """Days since the last release, releases, newest Python; archived upstream is the registry's."""
    found: list[Evidence] = []
    kept = _lines(folder / SUPPORT, ("released", "releases_2y", "newest_python"))
    for backend in backends:
        if backend in kept:
            found += _support(backend, kept[backend])
        if backend in backends_index.names():
            archived = bool(backends_index.find(backend).archived)
            subject = Subject(backend, "support", "maintained", ("backends/registry.py",))
            found.append(certain(subject, float(not archived), "yes", share=float(not archived)))
    return found


def _support(backend: str, line: Mapping[str, str]) -> Iterator[Evidence]:
    source = (f"results/snapshots/{SUPPORT} of {line['taken']}",)

    def about(name: str) -> Subject:
        return Subject(backend, "support", name, source)

    try:
        days = (date.fromisoformat(line["taken"]) - date.fromisoformat(line["released"])).days
        releases = float(line["releases_2y"])
        served = line["newest_python"]
        behind = PYTHONS.index(served) if served in PYTHONS else len(PYTHONS)
    except ValueError as error:
        raise UsageError(f"{FOLDER / SUPPORT}: {backend}: {error}; make snapshot") from error
    yield certain(about("last release"), days, "days ago", share=half(days, AGE_HALF_DAYS))
    share = releases / (releases + OFTEN)
    yield certain(about("releases in two years"), releases, "releases", share=share)
    unit = "Pythons behind 3.14"
    yield certain(about("newest Python"), behind, unit, share=half(behind, PYTHON_HALF))


def ease(backends: Iterable[str], folder: Path = FOLDER) -> list[Evidence]:
    """What a backend's environment takes: MiB on disk and seconds to build."""
    found = []
    kept = _lines(folder / ENVIRONMENTS, ("mib", "seconds"))
    for backend in backends:
        if backend not in kept:
            continue
        line = kept[backend]
        source = (f"results/snapshots/{ENVIRONMENTS} of {line['taken']}",)
        for name, column, unit, at in (
            ("environment size", "mib", "MiB", SIZE_HALF_MIB),
            ("install time", "seconds", "s", INSTALL_HALF_S),
        ):
            try:
                value = float(line[column])
            except ValueError as error:
                raise UsageError(f"{folder / ENVIRONMENTS}: {backend}: {error}") from error
            subject = Subject(backend, "ease", name, source)
            found.append(certain(subject, value, unit, share=half(value, at)))
    return found


def _lines(path: Path, needed: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Backend -> its line; nothing where there is no snapshot."""
    if not path.is_file():
        return {}
    return {line["backend"]: line for _, line in records(path, ("taken", "backend", *needed))}
