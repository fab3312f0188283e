"""Rows made ready for scoring: which count, and which may be compared with which. Pure.

Only like is compared with like: two backends meet in a *contest*, the same workload, model, size,
device, precision, track, batch, world size, format and settings on the same machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from bench import backends_index
from bench.compare import frame, sides
from bench.contract import GENERATE
from bench.score import ASKED, SERVE, TRAIN

_ANSWERS = ("unsupported", "interrupted")
"""Neither went wrong: one is an answer, the other somebody's Ctrl-C."""

OUT_OF_BOX = "out-of-box"
COLUMNS = frame.Columns(
    texts=("mode", "size", "track", "export_format", "compile_cache", "archived", "capability"),
    counts=("batch", "world_size", "steps", "infer_steps", "quality_steps"),
    figures=(
        *("import_s", "build_s", "first_step_s", "energy_j", "loss_last"),
        *("export_mib", "load_s", "serve_import_s", "measure_peak_host_mib"),
        *("tokens_per_s", "ttft_ms_p50", "ttft_ms_p99", "itl_ms_p50", "itl_ms_p99"),
        *("decode_tokens_per_s", "cache_bytes_per_token", "optimizer_mib", "activation_mib"),
        *("target_accuracy", "target_found", "target_s", "target_samples", "target_compile_s"),
    ),
)


def read(paths: Iterable[Path], *, track: str = OUT_OF_BOX) -> pd.DataFrame:
    """Rows with what scoring needs beside them: contest, task, tried, usable, usual."""
    return prepared(frame.read(paths, more=COLUMNS), track=track)


def prepared(rows: pd.DataFrame, *, track: str = OUT_OF_BOX) -> pd.DataFrame:
    """usable: ok, the same function as the reference's, in the precision that it claims.

    usual: on the track that was asked for, in the mode that speaks for its backend.
    """
    rows = rows.copy()
    serves = rows["workload"].isin(("export", GENERATE)).to_numpy()
    asked = (rows["capability"] != "").to_numpy()
    rows["task"] = np.where(asked, ASKED, np.where(serves, SERVE, TRAIN))
    rows["contest"] = _contests(rows)
    ok = (rows["status"] == "ok").to_numpy()
    same = (rows["parity"] != "failed").to_numpy()
    honest = (rows["precision_honest"] != "false").to_numpy()
    rows["usable"] = ok & same & honest
    rows["tried"] = ~rows["status"].isin(_ANSWERS).to_numpy()
    rows["usual"] = _usual(rows) & (rows["track"] == track).to_numpy()
    return rows


def _contests(rows: pd.DataFrame) -> pd.Series:
    """A category a contest: the id without backend and mode, and the machine."""
    keys = {one: sides.key(one, "backend") for one in rows["cell_id"].cat.categories}
    parts = [rows["cell_id"].astype(str).map(keys)]
    parts += [rows[name].astype(str) for name in ("cluster", "device_name", "driver")]
    found = parts[0].str.cat(parts[1:], sep=" @ ")
    return found.astype("category")


def _usual(rows: pd.DataFrame) -> np.ndarray:
    """In each contest a backend runs in one mode: its usual one, or else the first by name."""
    modes = rows["cell_id"].cat.categories.to_series().map(_mode_rank)
    rank = rows["cell_id"].astype(object).map(modes)
    best = rank.groupby([rows["contest"], rows["backend"]], observed=True).transform("min")
    found: np.ndarray = (rank == best).to_numpy()
    return found


def _mode_rank(cell_id: str) -> str:
    """Sorts a backend's usual mode first."""
    backend, *_ = cell_id.split("/")
    mode = cell_id.split("/")[6]
    settings = [part for part in cell_id.split("/") if "=" in part]
    return "" if mode == usual_mode(backend, settings) else mode


def usual_mode(backend: str, settings: Iterable[str]) -> str:
    """What ``--mode default`` means; "" for a backend that is not installed here."""
    if backend not in backends_index.names():
        return ""
    entry = backends_index.find(backend)
    usual = (entry.usual[one] for one in settings if one in entry.usual)
    return next(usual, entry.modes[0])
