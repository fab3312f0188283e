"""Performance, reliability and value: sub-scores from rows; docs/scoring.md has the formulas. Pure.

Rates and memory are ratios to the best of each contest, averaged as logarithms: of normalised
results only the geometric mean ranks alike whatever is the reference (Fleming & Wallace 1986).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import special

from bench.score import evidence
from bench.score.evidence import Evidence, Subject

DRIFT = 0.10
"""Standard deviation of a fresh process's logarithm where no cell has two: what was measured on a
shared 2-core machine."""

COMPILE_HALF_S = 60.0  # waiting a minute for a compiler costs half the marks
SPREAD_HALF = 0.10
RATE, MEMORY, COMPILE, TAIL, DONE, SPREAD = (
    *("throughput", "peak memory", "compile time", "tail latency", "cells completed"),
    "run-to-run spread",
)


RATES = ("samples_per_s", "infer_samples_per_s")


def performance(rows: pd.DataFrame) -> list[Evidence]:
    """Sub-scores of one task's rows, every backend that was tried in it."""
    measured = rows[rows["usable"] & rows["usual"]]
    found = [*_ratios(measured, _of(measured, *RATES), RATE, 1, "performance")]
    found += _ratios(measured, _memory(measured), MEMORY, -1, "performance")
    for backend, mine in measured.groupby("backend", observed=True):
        found += _waiting(str(backend), mine)
    for backend, mine in rows[rows["tried"]].groupby("backend", observed=True):
        found.append(
            evidence.passed(
                Subject(str(backend), "performance", DONE, _cells(mine)),
                yes=int(mine["usable"].sum()),
                of=len(mine),
            )
        )
    return found


def value(rows: pd.DataFrame, prices: Mapping[str, float]) -> list[Evidence]:
    """Throughput for what it costs. prices: device's name -> currency units an hour."""
    measured = rows[rows["usable"] & rows["usual"]]
    rate = _of(measured, *RATES)
    hour = 3600 / measured["world_size"].fillna(1).to_numpy(float)
    found = [*_ratios(measured, rate * hour, "samples a device-hour", 1, "value")]
    price = measured["device_name"].astype(str).map(dict(prices)).to_numpy(float)
    found += _ratios(measured, rate * hour / price, "samples a currency unit", 1, "value")
    steps = measured["steps"].fillna(measured["infer_steps"]).to_numpy(float)
    samples = steps * (measured["batch"] * measured["world_size"]).to_numpy(float)
    joules = measured["energy_j"].to_numpy(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        per_joule = np.where(joules > 0, samples / joules, np.nan)
    return [*found, *_ratios(measured, per_joule, "samples a joule", 1, "value")]


def _of(rows: pd.DataFrame, first: str, *others: str) -> np.ndarray:
    """Of each row the first of the columns that it has, float64 [rows]."""
    values: np.ndarray = rows[first].to_numpy(float, copy=True)
    for name in others:
        values = np.where(np.isnan(values), rows[name].to_numpy(float), values)
    return values


def _memory(rows: pd.DataFrame) -> np.ndarray:
    """The device's own memory; a CPU's is the host's."""
    on_host = (rows["device"] == "cpu").to_numpy()
    found: np.ndarray = np.where(on_host, rows["peak_host_mib"], rows["peak_device_mib"])
    return found.astype(float)


def _ratios(
    rows: pd.DataFrame, values: np.ndarray, name: str, sign: int, criterion: str
) -> Iterator[Evidence]:
    """Each backend's geometric mean of its ratios to the best, over contests of two or more."""
    known = np.flatnonzero(np.nan_to_num(values) > 0)
    if not len(known):
        return
    # Codes of categories group several times faster than their texts.
    logs = pd.DataFrame(
        {
            "contest": rows["contest"].cat.codes.to_numpy()[known],
            "backend": rows["backend"].cat.codes.to_numpy()[known],
            "log": sign * np.log(values[known]),
        }
    )
    cells = logs.groupby(["contest", "backend"])["log"].agg(["mean", "var", "count"]).reset_index()
    spread = _pooled(cells)
    best = cells.groupby("contest")["mean"]
    cells["log"] = cells["mean"] - best.transform("max")
    cells = cells[best.transform("size") > 1]
    ids = rows[["contest", "backend", "cell_id"]].drop_duplicates()
    for code, mine in cells.groupby("backend"):
        backend = str(rows["backend"].cat.categories[code])
        n = len(mine)
        own = mine["var"].to_numpy(float)
        variance = np.where(np.isnan(own), spread, own) / mine["count"].to_numpy(float)
        here = ids[(ids["backend"] == backend) & ids["contest"].cat.codes.isin(mine["contest"])]
        yield evidence.ratio(
            Subject(backend, criterion, name, _cells(here)),
            log=float(mine["log"].mean()),
            error=math.sqrt(float(variance.sum())) / n,
            df=float((mine["count"] - 1).sum()) or math.inf,
        )


def _pooled(cells: pd.DataFrame) -> float:
    """Variance of one process's logarithm, over all cells that have two or more."""
    several = cells[cells["count"] > 1]
    df = (several["count"] - 1).to_numpy(float)
    if not df.sum():
        return DRIFT**2
    return float((several["var"].to_numpy(float) * df).sum() / df.sum())


def _waiting(backend: str, rows: pd.DataFrame) -> Iterator[Evidence]:
    """What users wait for: the compiler, the slow steps, and what differs from run to run."""
    cold = rows[rows["compile_cache"] != "warm"]
    seconds = cold["compile_s"].where(cold["mode"] != "eager", 0.0)
    if seconds.notna().any():
        mean, error = _mean(seconds, cold["cell_id"])
        subject = Subject(backend, "performance", COMPILE, _cells(cold[seconds.notna()]))
        yield evidence.costs(subject, mean, "s", at=COMPILE_HALF_S, error=error)
    p50, p99 = (_of(rows, f"step_ms_{which}", f"infer_ms_{which}") for which in ("p50", "p99"))
    tails = pd.Series(np.log(p50 / p99), index=rows.index)
    if tails.notna().any():
        mean, error = _mean(tails, rows["cell_id"])
        subject = Subject(backend, "performance", TAIL, _cells(rows))
        yield evidence.ratio(subject, log=min(mean, 0.0), error=error, df=math.inf)
    yield from _spread(backend, rows)


def _spread(backend: str, rows: pd.DataFrame) -> Iterator[Evidence]:
    logs = pd.Series(np.log(_of(rows, *RATES)), index=rows.index)
    groups = logs.groupby([rows["run_id"], rows["cell_id"]], observed=True)
    df = int((groups.count() - 1).clip(lower=0).sum())
    if not df:
        return
    squares = float(((groups.count() - 1) * groups.var().fillna(0.0)).sum())
    sd = math.sqrt(squares / df)
    # The interval of a standard deviation is chi-squared's; a wider spread is a lower share.
    tails = (0.5 - evidence.LEVEL / 2, 0.5 + evidence.LEVEL / 2)
    low, high = (math.sqrt(squares / float(special.chdtri(df, 1 - tail))) for tail in tails)
    yield Evidence(
        Subject(backend, "performance", SPREAD, _cells(rows)),
        *(sd, "of the rate"),
        share=evidence.half(sd, SPREAD_HALF),
        low=evidence.half(low, SPREAD_HALF),
        high=evidence.half(high, SPREAD_HALF),
    )


def _mean(values: pd.Series, cells: pd.Series) -> tuple[float, float]:
    """Mean over cells of their processes' means, and its standard error."""
    groups = values.groupby(cells, observed=True)
    means, counts, variances = groups.mean().dropna(), groups.count(), groups.var()
    pooled = float(variances.mean()) if variances.notna().any() else 0.0
    each = (variances.fillna(pooled) / counts.where(counts > 0))[means.index]
    return float(means.mean()), math.sqrt(float(each.sum())) / len(means)


def _cells(rows: pd.DataFrame) -> Sequence[str]:
    return tuple(sorted(str(one) for one in rows["cell_id"].unique()))
