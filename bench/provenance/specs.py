"""Whether the spec that a row was made by is there, and its operations are the row's."""

from __future__ import annotations

import functools
import tomllib
from typing import Any

from bench.contract import GENERATE
from bench.errors import UsageError
from bench.generation import NEW_TOKENS
from bench.grid import SPEC
from bench.provenance import revisions
from bench.provenance.findings import BROKEN, OK, UNVERIFIABLE, Finding
from bench.provenance.rests_on import asked
from bench.rows.schema import Row
from workloads import FOLDER, SizeSpec, catalogue, flops
from workloads.catalogue import Catalogue

CHECK = "spec"
COUNTING = "flops.py"
PLANNING = ("deadline_s", "estimate_s", "memory_mib")
"""Keys of a size that only plan a run: what is measured does not hang on them."""


def spec(row: Row, known: Catalogue) -> Finding:
    """known: with the pilot file's sizes, where one was given."""
    digest = (asked(row) or {}).get(SPEC)
    if digest is not None:
        return _own(row, known, digest)
    try:
        found = catalogue.size(row["workload"], row["model"], row["size"])
    except UsageError:
        return _gone(row)
    same = _same(row["workload"], row["model"], row["size"], row["git_rev"])
    fits = _operations_fit(row, found)
    if same and not fits and not _counted_alike(row["git_rev"]):
        said = "is the revision's, but how operations are counted has changed since"
        return Finding(CHECK, UNVERIFIABLE, said)
    return Finding(CHECK, *_compared(same=same, fits=fits))


def _compared(*, same: bool | None, fits: bool) -> tuple[str, str]:
    """Verdict on a spec that is here; same: as what was run, None where that is not known."""
    if fits and same:
        return OK, "is the revision's, and its operations the row's"
    if same:
        return BROKEN, "flops_per_sample is not what the spec makes"
    how = "are" if fits else "are not"
    since = "has changed since" if same is not None else "what the program was is not here"
    return UNVERIFIABLE, f"{since}; the spec's operations, as it is now, {how} the row's"


def _own(row: Row, known: Catalogue, digest: str) -> Finding:
    """Of a size of the user's: only who has the pilot file can tell."""
    size = row["size"]
    if size not in known.own:
        said = f"{size} is a size of the user's own: give its pilot file with --spec"
        return Finding(CHECK, UNVERIFIABLE, said)
    try:
        found = known.of_model(row["model"], size)
    except UsageError as error:
        return Finding(CHECK, UNVERIFIABLE, f"the pilot file's {size}: {error}")
    if catalogue.digest(found) != digest or not _operations_fit(row, found):
        return Finding(CHECK, BROKEN, f"{size} of the pilot file is not what was run")
    return Finding(CHECK, OK, "is the pilot file's, and its operations the row's")


def _gone(row: Row) -> Finding:
    """Of a size that this working tree has not."""
    revision = revisions.commit(row["git_rev"])
    if revision is None:
        return Finding(CHECK, UNVERIFIABLE, "not here, and its revision is not either")
    if row["workload"] in _named(revision) and _tables(
        row["workload"], row["size"], revision, model=row["model"]
    ):
        return Finding(CHECK, UNVERIFIABLE, "is in the revision, and not here any more")
    named = f"{row['workload']}, {row['model']}, {row['size']}"
    return Finding(CHECK, BROKEN, f"neither here nor in the revision is there {named}")


def _operations_fit(row: Row, found: SizeSpec) -> bool:
    """True, too, where the row has no figure of them, or they cannot be counted here."""
    stated, dims = row["flops_per_sample"], found.dims
    if row["workload"] == GENERATE:
        made = flops.per_generation(dims, NEW_TOKENS)  # type: ignore[arg-type]  # its models are decoders
    else:
        made = flops.per_sample(dims, training=not row["export_format"])
    return stated is None or not made or stated == made


@functools.cache
def _same(workload: str, model: str, size: str, git_rev: str) -> bool | None:
    """Whether what was run was as it is now; None where the revision is not here, or had local
    changes.
    """
    revision = revisions.clean(git_rev)
    if revision is None:
        return None
    specs = dict.fromkeys((workload, catalogue.REFERENCE.home(model)))
    return all(_tables(one, size, None) == _tables(one, size, revision) for one in specs)


def _counted_alike(git_rev: str) -> bool:
    then = revisions.text(revisions.clean(git_rev) or "", f"{FOLDER.name}/{COUNTING}")
    return then == (FOLDER / COUNTING).read_bytes()


def _named(revision: str) -> set[str]:
    return {name.removesuffix(".toml") for name in revisions.names(revision, FOLDER.name)}


@functools.cache
def _tables(workload: str, size: str, revision: str | None, *, model: str = "") -> dict[str, Any]:
    """A spec's part that decides what is measured; empty where it has not the size or model."""
    name = f"{workload}.toml"
    data = (
        revisions.text(revision, f"{FOLDER.name}/{name}")
        if revision
        else (FOLDER / name).read_bytes()
    )
    try:
        found = tomllib.loads((data or b"").decode())
    except ValueError:  # it was broken then
        return {}
    table = found.get("size", {}).get(size)
    if table is None or (model and model not in found.get("models", ())):
        return {}
    kept = {key: value for key, value in table.items() if key not in PLANNING}
    return {"size": kept, "optimizer": found.get("optimizer")}
