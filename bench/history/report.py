"""What a history says, as lines for people, JSON, and the files that Apache Otava reads."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.compare.metrics import Metric
from bench.errors import UsageError
from bench.history.changes import Change, Found
from bench.history.series import FACTS, Series
from bench.rows import schema
from bench.text import plain

BARS = "▁▂▃▄▅▆▇█"
SHOWN_NIGHTS = 40


@dataclass(frozen=True)
class Told:
    """One series with what was found in it."""

    series: Series
    found: Found

    @property
    def name(self) -> str:
        cluster = f"{self.series.cluster}: " if self.series.cluster else ""
        return f"{cluster}{self.series.cell}"


def lines(told: Iterable[Told], metric: Metric) -> Iterator[str]:
    """A line a series, and below it one a change."""
    for one in told:
        nights = one.series.nights
        last = math.exp(nights["log"].iloc[-1])
        yield (
            f"{plain(one.name)}  {_sparkline(nights['log'].to_numpy())}"
            f"  {len(nights)} nights, {metric.name} {last:,.4g}"
        )
        if one.found.trend:
            yield f"  drifts by {math.expm1(one.found.trend):+.1%} over all nights"
        for change in one.found.changes:
            yield f"  {_words(one.series, change, metric)}"
        if one.found.outliers:
            at = ", ".join(nights["time"].iloc[place][:10] for place in one.found.outliers[:10])
            yield f"  outlying: {at}"


def _words(series: Series, change: Change, metric: Metric) -> str:
    night = series.nights.iloc[change.at]
    word = metric.more if change.log_ratio > 0 else metric.less
    versions = "; ".join(
        f"{name} {before or '(none)'} -> {after or '(none)'}"
        for name, (before, after) in series.changed(change.at).items()
    )
    why = plain(versions) or "nothing that is recorded changed with it"
    return f"{night['time'][:10]}: {word}, {math.expm1(change.log_ratio):+.1%} ({why})"


def _sparkline(logs: np.ndarray) -> str:
    """The last nights, from the lowest to the highest of them."""
    shown = logs[-SHOWN_NIGHTS:]
    low, high = float(shown.min()), float(shown.max())
    if high - low < 1e-12:
        return BARS[len(BARS) // 2] * len(shown)
    return "".join(BARS[round((one - low) / (high - low) * (len(BARS) - 1))] for one in shown)


def as_json(told: Sequence[Told], metric: Metric) -> str:
    return json.dumps(
        {
            "metric": metric.name,
            "series": [
                {
                    "cluster": one.series.cluster,
                    "cell": one.series.cell,
                    "nights": [
                        {"time": time, "value": math.exp(log), "processes": int(n)}
                        for time, log, n in zip(
                            *(one.series.nights[name] for name in ("time", "log", "n")),
                            strict=True,
                        )
                    ],
                    "changes": [_as_json(one.series, change) for change in one.found.changes],
                    "outliers": list(one.found.outliers),
                    "trend": math.expm1(one.found.trend),
                }
                for one in told
            ],
        },
        allow_nan=False,
    )


def _as_json(series: Series, change: Change) -> dict[str, object]:
    return {
        "at": change.at,
        "time": series.nights["time"].iloc[change.at],
        "ratio": math.exp(change.log_ratio),
        "p": change.p,
        "changed": {name: list(both) for name, both in series.changed(change.at).items()},
    }


def write_otava(folder: Path, told: Sequence[Told], metric: Metric) -> None:
    """A CSV a series and the configuration that names them (``otava analyze NAME``).

    Otava reads a time column, metric columns and attributes; its configuration says which is which.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tests = []
        for number, one in enumerate(told, start=1):
            name = f"{number:04d}-{re.sub(r'[^A-Za-z0-9_-]+', '-', one.name)[:80]}"
            (folder / f"{name}.csv").write_text(_otava_csv(one.series, metric), encoding="utf-8")
            tests.append(_otava_test(name, metric))
        (folder / "otava.yaml").write_text("tests:\n" + "".join(tests), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}; name another") from error


def _otava_csv(series: Series, metric: Metric) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["time", metric.name, *FACTS])
    for night in series.nights.to_dict("records"):
        facts = [schema.field(night[name]) for name in FACTS]
        writer.writerow([night["time"], repr(math.exp(night["log"])), *facts])
    return out.getvalue()


def _otava_test(name: str, metric: Metric) -> str:
    direction = 1 if metric.more == "faster" else -1
    return (
        f"  {name}:\n"
        "    type: csv\n"
        f"    file: {name}.csv\n"
        "    time_column: time\n"
        f"    attributes: [{', '.join(FACTS)}]\n"
        "    metrics:\n"
        f"      {metric.name}:\n"
        f"        column: {metric.name}\n"
        f"        direction: {direction}\n"
    )
