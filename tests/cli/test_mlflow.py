"""Rows in a real local MLflow, read back by its own client."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench.cli import main
from bench.sinks import mlflow_runs
from tests.comparing import rows, write
from tests.rows import failed_row

CELL = "torch/cnn/cnn/small/cpu/fp32/eager/out-of-box/b64/w1"
TIMES = {"block_steps": 2, "block_ns": [1, 2], "step_ns": [3]}
HOSTILE = "o'\"r%\\\n\ud800"
STARTED = datetime(2026, 3, 1, 12, 30, 15, 250000, tzinfo=UTC)  # of tests.rows


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    """What an export sets is gone after a test."""
    for name in (*mlflow_runs.VARIABLES, *mlflow_runs.DEFAULTS):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def store(tmp_path):
    return f"file:{tmp_path / 'runs'}"


def export(store, *results, code=0, more=()):
    arguments = ["--tracking-uri", store, "--experiment", "pilots", *more]
    assert main(["export", "--format", "mlflow", *map(str, results), *arguments]) == code


def found(store):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=store)
    runs = client.search_runs([client.get_experiment_by_name("pilots").experiment_id])
    return client, {(run.data.tags["cell_id"], int(run.data.tags["repeat"])): run for run in runs}


def test_a_row_is_a_run_and_a_second_export_adds_nothing(tmp_path, store, capsys):
    settings = {"tf32": False, "dtypes": {"compute": "float32"}, "../odd key": "v" * 9000}
    settings |= {f"s{number}": number for number in range(150)}  # MLflow takes 100 at once
    measured = rows([1.0, 0.5], settings=settings, cluster="lab", reason="x")
    failed = failed_row(cell_id=f"{CELL}/do={HOSTILE}", reason=HOSTILE * 1500)
    csv = write(tmp_path / "a.csv", [*measured, failed], {(CELL, 1): TIMES})

    export(store, csv, more=["--raw-times"])
    export(store, csv)
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "experiment pilots: 3 runs added, 0 were there",
        "experiment pilots: 0 runs added, 3 were there",
    ]
    client, runs = found(store)
    assert len(runs) == 3
    one = runs[CELL, 1]
    assert (one.info.status, one.info.run_name) == ("FINISHED", f"{CELL} repeat 1")
    # In UTC milliseconds; the whole cell took 20 s.
    assert one.info.start_time == STARTED.timestamp() * 1000
    assert one.info.end_time - one.info.start_time == 20_000
    assert one.data.metrics["samples_per_s"] == 1280.0
    assert one.data.metrics["peak_host_mib"] == 900.0
    assert not {"batch", "repeat", "schema", "energy_j"} & set(one.data.metrics)
    assert one.data.params["batch"] == "64"
    assert one.data.params["settings.tf32"] == "false"
    assert json.loads(one.data.params["settings.dtypes"]) == {"compute": "float32"}
    assert one.data.params["settings.s149"] == "149"
    assert one.data.params["settings..._odd_key"].startswith("vvv")
    tags = {name: one.data.tags[name] for name in ("status", "cluster", "host", "run_id", "reason")}
    assert tags == {
        "status": "ok", "cluster": "lab", "host": "node7", "run_id": "a1b2c3", "reason": "x"
    }  # fmt: skip
    (artifact,) = client.list_artifacts(one.info.run_id)
    path = client.download_artifacts(one.info.run_id, artifact.path)
    assert json.loads(Path(path).read_text())["block_ns"] == [1, 2]
    assert client.list_artifacts(runs[CELL, 2].info.run_id) == []
    odd = runs[f"{CELL}/do={HOSTILE.replace(chr(0xD800), '?')}", 0]
    assert (odd.info.status, odd.data.metrics) == ("FAILED", {})
    assert odd.data.tags["reason"].startswith("o'\"r%\\\n?o'")


def test_a_run_id_cannot_break_out_of_the_search(tmp_path, store, capsys):
    csv = write(tmp_path / "a.csv", rows([1.0], run_id="x' OR '%'='"))
    other = write(tmp_path / "b.csv", rows([1.0], run_id="y"))
    for results in (csv, other, csv):
        export(store, results)
    added = [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()]
    assert added == ["1 runs added, 0 were there"] * 2 + ["0 runs added, 1 were there"]


def test_a_cell_that_was_run_again_and_an_export_that_was_cut_short_are_made_good(tmp_path, store):
    interrupted = failed_row(status="interrupted", reason="stopped by the user", repeat=1)
    export(store, write(tmp_path / "a.csv", [interrupted]))
    _, runs = found(store)
    assert runs[CELL, 1].info.status == "KILLED"
    resumed = write(tmp_path / "b.csv", rows([1.0], started_at=STARTED + timedelta(hours=1)))
    export(store, resumed)
    client, runs = found(store)
    assert [run.info.status for run in runs.values()] == ["FINISHED"]

    client.update_run(runs[CELL, 1].info.run_id, status="RUNNING")
    export(store, resumed)
    _, again = found(store)
    assert again[CELL, 1].info.run_id != runs[CELL, 1].info.run_id
    assert [run.info.status for run in again.values()] == ["FINISHED"]


def test_telemetry_is_off_and_nothing_is_asked_of_a_network(tmp_path, store, monkeypatch):
    def refuse(*_):
        raise AssertionError("a network was asked for")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    export(store, write(tmp_path / "a.csv", rows([1.0])))
    from mlflow.telemetry import utils

    monkeypatch.setattr(utils, "_IS_IN_CI_ENV_OR_TESTING", False)
    assert utils.is_telemetry_disabled()
    assert os.environ["DO_NOT_TRACK"] == "true"


@pytest.mark.parametrize(
    ("uri", "experiment", "words"),
    [
        ("http://me:secret@127.0.0.1:9", "pilots", "MLflow: "),
        ("sqlite:///x.db", "pilots", "sqlite needs the whole mlflow"),
        ("file:/proc/nowhere", "pilots", "MLflow: "),
        ("file:runs", "it's", "MLflow: "),
    ],
)
def test_what_mlflow_cannot_do_is_one_line(tmp_path, capsys, monkeypatch, uri, experiment, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    csv = write(tmp_path / "a.csv", rows([1.0]))
    arguments = ["--tracking-uri", uri, "--experiment", experiment]
    assert main(["export", "--format", "mlflow", str(csv), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert "secret" not in line


def test_a_deleted_experiment_is_not_written_to(tmp_path, store, capsys):
    csv = write(tmp_path / "a.csv", rows([1.0]))
    export(store, csv)
    client, _ = found(store)
    client.delete_experiment(client.get_experiment_by_name("pilots").experiment_id)
    export(store, csv, code=2)
    assert "is deleted: restore it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "more", "words"),
    [
        ("mlflow", [], "say where to, --tracking-uri"),
        ("mlflow", ["-o", "x"], "--out is not of --format mlflow"),
        (
            "prometheus",
            ["--tracking-uri", "file:x"],
            "--tracking-uri is not of --format prometheus",
        ),
        ("pytest-benchmark", ["--raw-times"], "--raw-times is not of --format pytest-benchmark"),
    ],
)
def test_an_option_of_another_format_is_refused(tmp_path, capsys, kind, more, words):
    csv = write(tmp_path / "a.csv", rows([1.0]))
    assert main(["export", "--format", kind, str(csv), *more]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "module", "mend"),
    [
        ("mlflow", "mlflow.tracking", "pip install mlflow-skinny"),
        ("prometheus", "prometheus_client", "pip install prometheus-client"),
    ],
)
def test_a_library_that_is_not_there_is_named(tmp_path, capsys, monkeypatch, kind, module, mend):
    monkeypatch.setitem(sys.modules, module, None)
    csv = write(tmp_path / "a.csv", rows([1.0]))
    uri = ["--tracking-uri", "file:x"] if kind == "mlflow" else []
    assert main(["export", "--format", kind, str(csv), *uri]) == 2
    assert mend in capsys.readouterr().err
