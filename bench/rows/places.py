"""Where results files are."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from bench.errors import UsageError

_CLUSTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def default_path(root: Path, cluster: str | None, *, run_id: str, now: datetime) -> Path:
    """Where a run's rows go; ``root`` is the folder ``results``."""
    if cluster is not None and not _CLUSTER.fullmatch(cluster):
        raise UsageError(
            f"--cluster {cluster!r}: a name is letters, digits, '.', '_' and '-' (at most 64,"
            " a letter or digit first)"
        )
    if cluster == "local":
        raise UsageError("--cluster local: git ignores that folder; choose another name")
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    return root / (cluster or "local") / f"{stamp}-{run_id}.csv"


def steps_path(path: Path) -> Path:
    """The raw times that belong to the results file ``path``."""
    return path.with_name(f"{path.name.removesuffix('.csv')}.steps.jsonl.gz")


def manifest_path(path: Path) -> Path:
    """The manifest (bench/rows/manifest.py) of the results file ``path``."""
    return path.with_name(f"{path.name.removesuffix('.csv')}.sha256")


def parts(path: Path) -> tuple[Path, ...]:
    """The results file ``path`` and what lies beside it."""
    return path, steps_path(path), manifest_path(path)


def log_path(path: Path) -> Path:
    """The events of the run that wrote the results file ``path``."""
    return path.with_name(f"{path.name.removesuffix('.csv')}.log.jsonl")


def logs_path(path: Path) -> Path:
    """The folder with what the workers printed whose cells did not end well."""
    return path.with_suffix(".logs")
