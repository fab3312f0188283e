"""What a deployment allows: limits that a backend's rows keep or break. Pure.

A limit on host memory holds for every cell. The others are of serving, and they hold together: of
each model and size that was served, some cell (a format, precision, batch or mode) keeps all of
them at once. Figures are medians over a cell's fresh processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.score.musts import MET, REFUSED, UNMEASURED, Answer, Must

if TYPE_CHECKING:
    import pandas as pd  # the options know the limits' names where no rows are read


@dataclass(frozen=True)
class Limit:
    """One kind of limit. column: of the rows; words, unit: for people."""

    column: str
    words: str
    unit: str

    def text(self, most: float) -> str:
        return f"at most {most:g} {self.unit} of {self.words}"


HOST = "max_host_mib"
LIMITS: Mapping[str, Limit] = {
    HOST: Limit("peak_host_mib", "host memory", "MiB"),
    "max_export_mib": Limit("export_mib", "exported file", "MiB"),
    "max_start_s": Limit("start_s", "import and load before the first answer", "s"),
    "max_serving_mib": Limit("measure_peak_host_mib", "host memory while serving", "MiB"),
    "max_p99_ms": Limit("infer_ms_p99", "latency at the 99th percentile", "ms"),
}
"""Name of the option -> what it limits."""

Limits = Mapping[str, float]
"""Name of the option -> the most that is allowed."""
NONE: Limits = {}


def answers(limits: Limits, rows: pd.DataFrame) -> Iterator[Answer]:
    """rows: one backend's, of ``cells.read``."""
    known = rows[rows["usable"] & (rows["capability"] == "")]
    if HOST in limits:
        yield _host(limits[HOST], known)
    serving = {name: most for name, most in limits.items() if name != HOST}
    if serving:
        yield _serving(serving, known[known["workload"] == "export"])


def _host(most: float, rows: pd.DataFrame) -> Answer:
    """Whether every row stayed below the limit."""
    limit = LIMITS[HOST]
    must = Must(limit.text(most), {})
    rows = rows[rows[limit.column].notna()]
    if rows.empty:
        return Answer(must, UNMEASURED)
    worst = rows.loc[rows[limit.column].idxmax()]
    took = f"{worst[limit.column]:,.0f} MiB"
    verdict = MET if worst[limit.column] <= most else REFUSED
    return Answer(must, verdict, str(worst["cell_id"]), took)


def _serving(limits: Limits, rows: pd.DataFrame) -> Answer:
    text = ", ".join(LIMITS[name].text(most) for name, most in limits.items())
    must = Must(text, {"WORKLOAD": "export"})
    columns = {LIMITS[name].column: most for name, most in limits.items()}
    rows = rows.assign(start_s=rows["serve_import_s"] + rows["load_s"])
    rows = rows[rows[list(columns)].notna().all(axis=1)]
    if rows.empty:
        return Answer(must, UNMEASURED)
    cells = rows.groupby(["model", "size", "cell_id"], observed=True)[list(columns)].median()
    excess = cells.div(list(columns.values()), axis="columns").max(axis=1)
    # Of each model and size the cell that keeps the limits best; of these, the worst decides.
    best = excess.groupby(level=["model", "size"], observed=True).idxmin()
    worst = max(best, key=lambda cell: float(excess[cell]))
    found = cells.loc[worst]
    took = ", ".join(f"{found[LIMITS[n].column]:.4g} {LIMITS[n].unit}" for n in limits)
    return Answer(must, MET if excess[worst] <= 1 else REFUSED, str(worst[-1]), took)
