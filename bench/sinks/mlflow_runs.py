"""``bench export --format mlflow``: each row is a run of an MLflow experiment.

MLflow is imported here and nowhere else, with its telemetry off, and reaches no network but the
tracking server that is named. A row is known by its run, cell and repeat: a second export of the
same file adds nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import EXIT_NOTHING, EXIT_OK, UsageError
from bench.rows import merging, reading, schema
from bench.rows.schema import Row
from bench.text import plain, redacted

if TYPE_CHECKING:
    from mlflow.entities import Run

EXPERIMENT = "framework-pilot"

VARIABLES = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}

DEFAULTS = {
    # MLflow only maintains its file store, and opens none unless told so: who named one did.
    "MLFLOW_ALLOW_FILE_STORE": "true",
    # Its own are 7 and more than two minutes, for a server that is not there.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}

PARAMS = (
    *("backend", "backend_version", "workload", "model", "size", "device", "device_name"),
    *("precision", "mode", "track", "batch", "world_size", "threads", "export_format"),
    *("compile_cache", "capability", "trial", "schedule", "seed", "driver", "env_python"),
)
TAGS = (
    *("status", "reason", "cluster", "host", "git_rev", "env_lock", "run_id", "cell_id"),
    *("repeat", "parity", "precision_honest", "export_rung"),
)
METRICS = tuple(
    column.name
    for column in schema.COLUMNS
    if column.kind in ("int", "float") and column.name not in (*PARAMS, *TAGS, "schema")
)
KEY = "row_key"
"""The tag that a row is found by: digests, for an id may hold quotes, which a filter cannot."""

BATCH = 100  # params that MLflow takes at once
LONGEST = 6000  # characters of a param that it keeps; of a tag some more
NAME = 250  # characters of a key or of a run's name
SAID = 300  # characters of an error

ENDS = {"ok": "FINISHED", "unsupported": "FINISHED", "interrupted": "KILLED"}
"""Status of a row -> that of its run; others have FAILED."""

Times = Mapping[tuple[str, str, int], bytes]


def run(arguments: argparse.Namespace) -> int:
    """Exit code 3 where the results hold no row."""
    if not arguments.tracking_uri:
        raise UsageError("--format mlflow: say where to, --tracking-uri file:mlruns or a server")
    rows = reading.read(*arguments.results)
    times = raw_times(arguments.results) if arguments.raw_times else {}
    _import()
    with _explained():
        sink = Sink(arguments.tracking_uri, arguments.experiment or EXPERIMENT)
        added = sum([sink.add(row, times) for row in rows])
    print(f"experiment {sink.experiment}: {added} runs added, {len(rows) - added} were there")
    return EXIT_OK if rows else EXIT_NOTHING


class Sink:
    """An experiment that rows are added to. One at a time: MLflow cannot add a run only if it is
    missing, so two exports at once may both add it.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        from mlflow.tracking import MlflowClient  # noqa: PLC0415 - only who exports needs it

        self.experiment = experiment
        # MLflow keeps a store by its address: a relative one would stay where it was first opened.
        place = uri.removeprefix("file:")
        local = place != uri and not place.startswith("/")
        self._client = MlflowClient(tracking_uri=Path(place).resolve().as_uri() if local else uri)
        found = self._client.get_experiment_by_name(experiment)
        if found is not None and found.lifecycle_stage != "active":
            raise UsageError(f"experiment {experiment!r} is deleted: restore it, or name another")
        self._id = found.experiment_id if found else self._client.create_experiment(experiment)
        self._known: dict[str, dict[str, Run]] = {}

    def add(self, row: Row, times: Times) -> bool:
        """Whether it was not there yet, whole and as it is now."""
        run, cell = keys(row)
        if run not in self._known:
            self._known[run] = {one.data.tags[KEY]: one for one in self._found(run)}
        started = int(row["started_at"].timestamp() * 1000)
        old = self._known[run].get(f"{run}-{cell}")
        if old is not None:
            # A cell that was interrupted is run again under the same key; an export may be, too.
            if old.info.status != "RUNNING" and old.info.start_time == started:
                return False
            self._client.delete_run(old.info.run_id)
        self._write(row, f"{run}-{cell}", started, times)
        return True

    def _found(self, run: str) -> Iterator[Run]:
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._id], filter_string=f"tags.{KEY} LIKE '{run}-%'", page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def _write(self, row: Row, key: str, started: int, times: Times) -> None:
        from mlflow.entities import Metric, Param  # noqa: PLC0415 - only who exports needs it

        name = _utf8(f"{row['cell_id']} repeat {row['repeat']}"[-NAME:])
        tags = {**_texts(row, TAGS), KEY: key}
        made = self._client.create_run(self._id, start_time=started, tags=tags, run_name=name)
        run_id = made.info.run_id
        metrics = [Metric(one, row[one], started, 0) for one in METRICS if row[one] is not None]
        self._client.log_batch(run_id, metrics=metrics)
        params = [Param(one, value) for one, value in params_of(row).items()]
        for at in range(0, len(params), BATCH):
            self._client.log_batch(run_id, params=params[at : at + BATCH])
        if raw := times.get((row["run_id"], row["cell_id"], row["repeat"])):
            self._client.log_text(run_id, gzip.decompress(raw).decode(), "times.json")
        ended = row["started_at"] + timedelta(seconds=row["wall_s"] or 0)
        status = ENDS.get(row["status"], "FAILED")
        self._client.set_terminated(run_id, status, int(ended.timestamp() * 1000))


def keys(row: Row) -> tuple[str, str]:
    """Digests of the run, and of the cell and repeat in it."""
    texts = (row["run_id"], json.dumps([row["cell_id"], row["repeat"]]))
    run, cell = (hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() for text in texts)
    return run[:32], cell[:32]


def params_of(row: Row) -> dict[str, str]:
    """The cell's identity, and its settings by names that MLflow allows."""
    settings = row["settings"] if isinstance(row["settings"], dict) else {}
    found = _texts(row, PARAMS)
    for key, value in settings.items():
        name = f"settings.{re.sub(r'[^A-Za-z0-9_.-]', '_', key)}"[:NAME]
        found[name] = value if isinstance(value, str) else json.dumps(value)
    return {name: _utf8(value) for name, value in found.items()}


def _texts(row: Row, names: Sequence[str]) -> dict[str, str]:
    return {name: _utf8(str(row[name])) for name in names if row[name] not in ("", None)}


def _utf8(text: str) -> str:
    """Half of a surrogate pair, which a CSV may hold as an escape, is none."""
    return text[:LONGEST].encode("utf-8", "replace").decode()


def raw_times(results: Sequence[Path]) -> Times:
    """Compressed, of all rows of these files that have some. A file of several runs is left out:
    its times do not say whose they are.
    """
    found: dict[tuple[str, str, int], bytes] = {}
    for path in reading.files(tuple(results)):
        runs = {row["run_id"] for row in reading.read(path)}
        if len(runs) == 1:
            (run_id,) = runs
            found |= {(run_id, *key): raw for key, raw in merging.raw_times(path).items()}
    return found


def _import() -> None:
    """With what MLflow reads from the environment as it is imported."""
    os.environ.update(VARIABLES)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow.tracking  # noqa: F401, PLC0415 - optional, and takes seconds
    except ImportError as error:
        raise UsageError("--format mlflow needs MLflow: pip install mlflow-skinny") from error


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """What goes wrong in MLflow in one line, without the password of an address."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - only who exports needs it

    try:
        yield
    except (MlflowException, OSError) as error:
        said = plain(redacted(str(error)))[:SAID]
        mend = "--tracking-uri is file:FOLDER or a running server (sqlite needs the whole mlflow)"
        raise UsageError(f"MLflow: {said}; {mend}") from error
