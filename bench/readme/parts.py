"""What the README's tables have in common: which rows, and how figures are written."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from bench import backends_index
from bench.rows.schema import Row

REASON_LIMIT = 160  # characters; the row has all of it


def newest(rows: Sequence[Row], backend: str, **chosen: str) -> list[Row]:
    """One row a cell: fp32, out-of-box, without settings, on one CPU.

    None of those that were trained to an accuracy: their backends ran on other days, not in turns.
    """
    plain: Row = {"backend": backend, "device": "cpu", "precision": "fp32", "world_size": 1}
    plain |= {"track": "out-of-box", "compile_cache": "cold", **chosen}
    found: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row["started_at"]):
        alone = row.get("target_accuracy") is not None
        if plain.items() <= row.items() and "=" not in row["cell_id"] and not alone:
            found[row["cell_id"]] = row
    return list(found.values())


def median(rows: Sequence[Row], column: str, unit: str) -> str:
    known = [row[column] for row in rows if row.get(column) is not None]
    if not known:
        return ""
    return f"{digits(statistics.median(known))} {unit}".replace(" /", "/").strip()


def digits(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def footnotes(reasons: dict[str, int]) -> Iterator[str]:
    """The reasons by their numbers, below a table."""
    yield ""
    for reason, number in reasons.items():
        yield f"{number}. {short(reason)}"
    yield ""


def shown(backend: str) -> str:
    since = backends_index.find(backend).archived
    return f"{backend} (archived {since})" if since else backend


def short(reason: str) -> str:
    plain = " ".join(reason.replace("|", "\\|").replace("<", "&lt;").split())
    return plain if len(plain) <= REASON_LIMIT else plain[: REASON_LIMIT - 3] + "..."
