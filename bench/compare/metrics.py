"""What is compared of a row, and the words for it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

FASTER, SLOWER, SAME = "faster", "slower", "same"
INCONCLUSIVE, INCOMPARABLE = "inconclusive", "incomparable"


class Metric(NamedTuple):
    """A figure with a ratio. ``columns``: the first that a row has; export rows have their own.

    more, less: what NEW is called if its figure is the larger or the smaller.
    """

    name: str
    columns: tuple[str, ...]
    more: str
    less: str


THROUGHPUT = Metric("throughput", ("samples_per_s", "infer_samples_per_s"), FASTER, SLOWER)
METRICS = (
    THROUGHPUT,
    Metric("latency_p50", ("step_ms_p50", "infer_ms_p50"), SLOWER, FASTER),
    Metric("latency_p99", ("step_ms_p99", "infer_ms_p99"), SLOWER, FASTER),
    Metric("compile", ("compile_s",), SLOWER, FASTER),
    # Memory is neither fast nor slow.
    Metric("host_memory", ("peak_host_mib",), "larger", "smaller"),
    Metric("device_memory", ("peak_device_mib",), "larger", "smaller"),
)
RUNG = "export_rung"
"""The ladder has steps, not ratios: NEW is ``higher``, ``lower`` or ``same``."""

BY_NAME = {metric.name: metric for metric in METRICS}
WORSE = (SLOWER, "larger", "lower")


def logarithms(rows: pd.DataFrame, metric: Metric) -> np.ndarray:
    """The figure's natural logarithm, float64 [rows]; NaN where a row has none, or a zero."""
    values = rows[metric.columns[0]].to_numpy(float, copy=True)
    for name in metric.columns[1:]:
        values = np.where(np.isnan(values), rows[name].to_numpy(float), values)
    return np.log(np.where(values > 0, values, np.nan))
