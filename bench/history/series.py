"""From rows to nights: one value a run and cell, and what was installed that night."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.compare.metrics import Metric, logarithms

FACTS = ("backend_version", "env_lock", "env_python", "driver", "device_name", "git_rev")


@dataclass(frozen=True)
class Series:
    """One cell of one cluster. ``nights``: a row a run, oldest first, with ``time`` (when it
    began), ``run_id``, ``log`` (mean over its processes), ``n`` and the columns of FACTS.
    """

    cluster: str
    cell: str
    nights: pd.DataFrame

    def changed(self, at: int) -> dict[str, tuple[str, str]]:
        """Facts that differ between the night before ``at`` and that night."""
        before, after = self.nights.iloc[at - 1], self.nights.iloc[at]
        return {
            name: (str(before[name]), str(after[name]))
            for name in FACTS
            if before[name] != after[name]
        }


def of(rows: pd.DataFrame, metric: Metric) -> Iterator[Series]:
    """Every cell that was measured at least once, by cluster and cell."""
    logs = logarithms(rows, metric)
    kept = (rows["status"] == "ok").to_numpy() & ~np.isnan(logs)
    wanted = ["cluster", "cell_id", "run_id", "started_at", *FACTS]
    frame = rows.loc[kept, wanted].assign(log=logs[kept])
    # As text: ISO 8601 in UTC sorts as it is, and categories would be ordered by their codes.
    frame["started_at"] = frame["started_at"].astype(str)
    keys = ["cluster", "cell_id", "run_id"]
    grouped = frame.groupby(keys, observed=True, sort=False)
    nights = grouped.agg(time=("started_at", "min"), log=("log", "mean"), n=("log", "size"))
    nights = nights.join(grouped[list(FACTS)].first()).reset_index()
    for name in FACTS:
        nights[name] = nights[name].astype(str)
    nights = nights.sort_values(["cluster", "cell_id", "time"], kind="stable")
    for (cluster, cell), group in nights.groupby(["cluster", "cell_id"], observed=True):
        yield Series(str(cluster), str(cell), group.reset_index(drop=True))
