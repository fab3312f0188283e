"""Rows as a data frame: the few columns that a comparison needs, of millions of rows.

``bench.rows.reading`` reads exactly and says where a file is wrong, but row by row. Arrow reads
columns; where it or a check on whole columns finds a file wrong, the exact reader is asked where.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from bench import conditions
from bench.errors import UsageError
from bench.rows import reading, schema

TEXTS = (
    *("run_id", "cell_id", "cluster", "host", "backend", "backend_version", "workload", "model"),
    *("device", "device_name", "precision", "track", "status", "reason", "parity", "settings"),
    *("export_rung", "driver", "env_lock", "env_python", "git_rev", "started_at", "fleet"),
    *("precision_honest", "trial"),
)
COUNTS = ("repeat", "threads", "schema")
FIGURES = (
    *("samples_per_s", "infer_samples_per_s", "step_ms_p50", "step_ms_p99", "infer_ms_p50"),
    *("infer_ms_p99", "peak_host_mib", "peak_device_mib", "compile_s", "gemm_tflops"),
    *("memory_gb_s", "launch_us", "others_share", "stolen_share"),
)
KEY = ["run_id", "cell_id", "repeat"]
_NEEDED = (*KEY, "schema", "status", "backend")
_CODES = pa.dictionary(pa.int32(), pa.string())


class Columns(NamedTuple):
    """Names of columns by what they hold."""

    texts: tuple[str, ...]
    counts: tuple[str, ...]
    figures: tuple[str, ...]

    def with_more(self, more: Columns) -> Columns:
        return Columns(*(mine + theirs for mine, theirs in zip(self, more, strict=True)))

    def types(self) -> dict[str, pa.DataType]:
        return (
            dict.fromkeys(self.texts, _CODES)
            | dict.fromkeys(self.counts, pa.int64())
            | dict.fromkeys(self.figures, pa.float64())
        )


NEEDED = Columns(TEXTS, COUNTS, FIGURES)
NO_MORE = Columns((), (), ())


def read(paths: Iterable[Path], *, more: Columns = NO_MORE) -> pd.DataFrame:
    """The rows of files and folders, each row once; text columns are categorical.

    ``file`` holds the path that a row came from; ``more``: columns beside ``NEEDED``.
    UsageError names what is wrong and the mend.
    """
    files = reading.files(tuple(paths))
    columns = NEEDED.with_more(more)
    return _united([_one(path, columns) for path in files], columns)


def _one(path: Path, columns: Columns) -> pd.DataFrame:
    types = columns.types()
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            header = lines.readline().rstrip("\r\n").split(",")
        if missing := {column.name for column in schema.FIXED} - set(header):
            raise _wrong(path, f"it lacks the columns {', '.join(sorted(missing))}")
        table = csv.read_csv(
            path,
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                include_missing_columns=True,
                null_values=[""],
                strings_can_be_null=False,
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError, ValueError) as error:
        raise _wrong(path, str(error)) from error
    frame = table.to_pandas(split_blocks=True, self_destruct=True)
    if problem := _problem(frame, columns.figures):
        raise _wrong(path, problem)
    for name in columns.texts:
        frame[name] = _plain(frame[name])
    frame = frame[frame["trial"] == ""].reset_index(drop=True)  # they have no figures to compare
    frame["file"] = pd.Categorical.from_codes(np.zeros(len(frame), np.int8), [str(path)])
    return frame


def _plain(column: pd.Series) -> pd.Series:
    """Without the guards against formulas; one reading a distinct text, not a row."""
    column = column.cat.set_categories([str(one) for one in column.cat.categories])
    if column.isna().any():
        column = column.cat.add_categories([""]) if "" not in column.cat.categories else column
        column = column.fillna("")
    found = {text: schema.plain(text) for text in column.cat.categories}
    if all(text == plain for text, plain in found.items()):
        return column
    return column.astype(str).map(found).astype("category")


def _problem(frame: pd.DataFrame, names: Sequence[str]) -> str | None:
    """What whole columns show to be wrong."""
    for name in _NEEDED:
        if frame[name].isna().any() or (frame[name] == "").any():
            return f"the column {name!r} is missing, or empty somewhere"
    if (frame["schema"] != schema.VERSION).any():
        return f"its schema is not {schema.VERSION}"
    if not set(frame["status"].cat.categories) <= set(schema.STATUSES):
        return "it has a status that is none"
    figures = frame[list(names)].to_numpy()
    if np.isinf(figures).any() or (figures < 0).any():
        return "it has a figure that is negative or not finite"
    if frame.duplicated(KEY).any():
        return "it has two rows of one run_id, cell_id and repeat"
    return None


def _wrong(path: Path, problem: str) -> UsageError:
    """The exact reader names the line; where it finds nothing, what Arrow said."""
    try:
        reading.read(path)
    except UsageError as error:
        return error
    return UsageError(f"{path}: {problem.splitlines()[0]}; mend it or leave it out")


def _united(frames: Sequence[pd.DataFrame], columns: Columns) -> pd.DataFrame:
    """One frame; a row that is in two files (a copy) counts once, and must be the same in both."""
    if len(frames) == 1:
        return frames[0]
    for name in (*columns.texts, "file"):
        together = pd.api.types.union_categoricals([frame[name] for frame in frames])
        for frame in frames:
            frame[name] = frame[name].cat.set_categories(together.categories)
    frame = pd.concat(frames, ignore_index=True)
    copies = frame[frame.duplicated(KEY, keep=False)].drop(columns="file").drop_duplicates()
    if (differing := copies.duplicated(KEY)).any():
        cell = copies.loc[differing, "cell_id"].iloc[0]
        raise UsageError(
            f"two files have different rows of one run_id, cell_id and repeat ({cell});"
            " leave one of them out"
        )
    return frame.drop_duplicates(KEY, ignore_index=True) if len(copies) else frame


def disturbed(rows: pd.DataFrame) -> str:
    """How many of the rows timed on a CPU others computed beside, and how much; or ""."""
    timed = rows[(rows["device"] == "cpu") & rows["others_share"].notna()]
    return conditions.disturbed(list(timed["others_share"] + timed["stolen_share"].fillna(0.0)))
