"""What the page shows of rows: figures with intervals, the ladder, refusals. Pure."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from bench.compare.frame import disturbed
from bench.contract import GENERATE
from bench.rows.schema import RUNGS
from bench.score.evidence import LEVEL
from bench.targets import Reached, reached, soonest

Row = dict[str, Any]
DECODER = {
    "tokens/s": "tokens_per_s",
    "first token ms": "ttft_ms_p50",
    "first token p99 ms": "ttft_ms_p99",
    "next token ms": "itl_ms_p50",
    "next token p99 ms": "itl_ms_p99",
    "decoded tokens/s": "decode_tokens_per_s",
    "cache bytes a token": "cache_bytes_per_token",
    "moments MiB": "optimizer_mib",
    "activations MiB": "activation_mib",
}
"""Heads of the table of language models, and their columns."""
_LANGUAGE = ("llm", "lora", GENERATE)
PHASES = ("import_s", "build_s", "compile_s", "first_step_s")


class Span(NamedTuple):
    """A geometric mean over processes, and its Student interval; low and high None of one."""

    value: float | None
    low: float | None
    high: float | None


class Line(NamedTuple):
    """One cell on one machine. Seconds are means; rows: places in the frame of its processes."""

    contest: str
    cluster: str
    backend: str
    mode: str
    cell: str
    statuses: str
    n: int
    rate: Span
    memory: Span
    p50_ms: float | None
    p99_ms: float | None
    seconds: dict[str, float | None]
    decoder: dict[str, float | None]
    parity: str
    rung: str
    capability: str
    rows: Sequence[int]


def lines(rows: pd.DataFrame) -> list[Line]:
    """A line a cell and machine, in the order of the contests. rows: of ``cells.read``."""
    groups: dict[tuple[str, str], list[Row]] = {}
    # Plain records: thousands of small groups cost a data frame seconds.
    for place, row in zip(rows.index, rows.to_dict("records"), strict=True):
        key = (str(row["contest"]), str(row["cell_id"]))
        groups.setdefault(key, []).append({**row, "place": int(place)})
    return [_line(groups[key]) for key in sorted(groups)]


def _line(mine: Sequence[Row]) -> Line:
    good = [row for row in mine if row["usable"]]
    first = mine[0]
    counts = Counter(str(row["status"]) for row in mine)
    memory = "peak_host_mib" if first["device"] == "cpu" else "peak_device_mib"
    rungs = [RUNGS.index(row["export_rung"]) for row in mine if row["export_rung"] in RUNGS]
    return Line(
        contest=contest(str(first["cell_id"])),
        cluster=str(first["cluster"]),
        backend=str(first["backend"]),
        mode=str(first["mode"]),
        cell=str(first["cell_id"]),
        statuses=", ".join(f"{name} {count}" for name, count in counts.items()),
        n=len(good),
        rate=span(_known(good, "samples_per_s", "infer_samples_per_s")),
        memory=span(_known(good, memory)),
        p50_ms=_mean(_known(good, "step_ms_p50", "infer_ms_p50")),
        p99_ms=_mean(_known(good, "step_ms_p99", "infer_ms_p99")),
        seconds={name: _mean(_known(good, name)) for name in PHASES},
        decoder={name: _mean(_known(good, column)) for name, column in DECODER.items()},
        parity=" ".join(sorted({str(row["parity"]) for row in mine if row["parity"]})),
        rung=RUNGS[min(rungs)] if rungs else "",
        capability=str(first["capability"]),
        rows=[row["place"] for row in mine],
    )


def _known(rows: Sequence[Row], *names: str) -> list[float]:
    """Of each row the first of the columns that it has."""
    found = (next((row[name] for name in names if row[name] == row[name]), None) for row in rows)
    return [float(value) for value in found if value is not None]


def contest(cell_id: str) -> str:
    """The id without what is the backend's own: ``cnn small cpu fp32 out-of-box b32 w1``."""
    parts = cell_id.split("/")
    named = [part for place, part in enumerate(parts) if place not in (0, 6)]
    return " ".join(dict.fromkeys(named))


def span(known: Sequence[float]) -> Span:
    """Geometric mean and interval of positive figures, one a process."""
    logs = np.log([value for value in known if value > 0])
    if not len(logs):
        return Span(None, None, None)
    centre = float(logs.mean())
    if len(logs) == 1:
        return Span(math.exp(centre), None, None)
    reach = float(special.stdtrit(len(logs) - 1, 0.5 + LEVEL / 2) * logs.std(ddof=1))
    reach /= math.sqrt(len(logs))
    return Span(math.exp(centre), math.exp(centre - reach), math.exp(min(centre + reach, 700)))


def _mean(known: Sequence[float]) -> float | None:
    return fmean(known) if known else None


class Refusal(NamedTuple):
    """A cell that has no figures, and why."""

    cell: str
    cluster: str
    status: str
    reason: str


def refusals(rows: pd.DataFrame) -> list[Refusal]:
    """Each once; reasons in full, as the rows have them."""
    wrong = rows[(rows["status"] != "ok") | (rows["precision_honest"] == "false")]
    found = (
        Refusal(
            str(row["cell_id"]),
            str(row["cluster"]),
            str(row["status"]),
            str(row["reason"]) or "faster than its precision allows: not honest",
        )
        for row in wrong.to_dict("records")
    )
    return list(dict.fromkeys(found))


def ladder(found: Sequence[Line]) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Columns (a contest of the export workload), and backend -> column -> rung or status."""
    grid: dict[str, dict[str, str]] = {}
    columns: dict[str, None] = {}
    for line in found:
        if line.contest.startswith("export "):
            columns[line.contest] = None
            here = grid.setdefault(line.backend, {})
            here[line.contest] = line.rung or line.statuses.split()[0]
    return list(columns), grid


def asked(found: Sequence[Line]) -> dict[str, dict[str, str]]:
    """Backend -> capability -> how it ended; ``ok`` where it did so anywhere."""
    grid: dict[str, dict[str, str]] = {}
    for line in found:
        here = grid.setdefault(line.backend, {})
        status = "ok" if line.n else line.statuses.split()[0]
        if here.get(line.capability) != "ok":
            here[line.capability] = status
    return grid


def language(found: Sequence[Line]) -> list[Line]:
    """Those that train or serve a decoder and have figures."""
    return [line for line in found if line.n and line.cell.split("/")[1] in _LANGUAGE]


def targets(rows: pd.DataFrame) -> list[Reached]:
    """What was trained to an accuracy: of each workload the soonest first."""
    asked = rows[rows["target_accuracy"].notna()].to_dict("records")
    found = reached([{name: _plain(value) for name, value in row.items()} for row in asked])
    return sorted(found, key=soonest)


def machines(rows: pd.DataFrame) -> list[dict[str, str]]:
    """Each machine with the versions that ran on it, and whether others ran beside them."""
    names = ["cluster", "host", "device", "device_name", "driver", "threads"]
    return [
        dict(zip(names, map(str, key), strict=True))
        | {"versions": _versions(mine), "disturbed": disturbed(mine)}
        for key, mine in rows.groupby(names, observed=True, dropna=False)
    ]


def _versions(rows: pd.DataFrame) -> str:
    pairs = {
        (str(a), str(b)) for a, b in zip(rows["backend"], rows["backend_version"], strict=True) if b
    }
    return ", ".join(f"{name} {version}" for name, version in sorted(pairs))


def settings(rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Backend and the settings that were in force, each text once."""
    for backend, mine in rows[rows["usable"]].groupby("backend", observed=True):
        for text in mine["settings"].astype(str).unique()[:3]:
            yield str(backend), text


def raw(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Every row with what it has, for the page's raw figures."""
    kept = [name for name in rows.columns if name not in ("contest", "usual", "tried")]
    return [
        {name: _plain(row[name]) for name in kept if _plain(row[name]) not in ("", None)}
        for row in rows[kept].to_dict("records")
    ]


def _plain(value: Any) -> Any:
    """A JSON value; what is not known is None."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def script(value: Any) -> str:
    """JSON that may stand in an HTML script element: nothing in it can end the element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
