"""What Prometheus reads: parsed back by its own client."""

from __future__ import annotations

from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.cli import main
from bench.sinks.prometheus_text import LABELS
from tests.comparing import rows, write
from tests.rows import export_row, failed_row, generate_row, ok_row

CELL, STARTED = ok_row()["cell_id"], ok_row()["started_at"]


def exported(tmp_path, *parts, code=0):
    """Each gauge's samples: labels -> value; and its help."""
    results = [write(tmp_path / f"{at}.csv", part) for at, part in enumerate(parts)]
    out = tmp_path / "bench.prom"
    command = ["export", "--format", "prometheus", *map(str, results), "-o", str(out)]
    assert main(command) == code
    assert sorted(tmp_path.glob("bench.prom*")) == [out], "nothing half-written is left"
    families = list(text_string_to_metric_families(out.read_text("utf-8")))
    assert {family.type for family in families} == {"gauge"}
    return {family.name.removeprefix("framework_pilot_"): family for family in families}


def values(family, *names):
    return {tuple(sample.labels[name] for name in names): sample.value for sample in family.samples}


def test_figures_are_medians_of_the_latest_runs_repeats_in_base_units(tmp_path):
    old = rows([2.0], run_id="old")
    later = STARTED + timedelta(days=1)
    new = rows([1.0, 0.5, 2.0], run_id="new", started_at=later, peak_device_mib=3.0)
    found = exported(tmp_path, old, [*new, failed_row(run_id="new", repeat=9, started_at=later)])
    # 1280 samples/s of the middle one; 50, 55 and 60 ms; 900 MiB and 3 MiB.
    assert values(found["throughput_samples_per_second"]) == {(): 1280.0}
    assert values(found["step_latency_seconds"], "quantile") == {
        ("0.5",): pytest.approx(0.05),
        ("0.95",): pytest.approx(0.055),
        ("0.99",): pytest.approx(0.06),
    }
    assert values(found["peak_host_memory_bytes"]) == {(): 943_718_400.0}
    assert values(found["peak_device_memory_bytes"]) == {(): 3_145_728.0}
    assert values(found["repeats"]) == {(): 3.0}
    assert values(found["rows"], "status") == {("ok",): 3.0, ("crashed",): 1.0}
    assert values(found["last_run_timestamp_seconds"]) == {(): later.timestamp()}
    assert found["inference_latency_seconds"].samples == []
    assert "median over the processes" in found["throughput_samples_per_second"].documentation
    assert set(found["repeats"].samples[0].labels) == set(LABELS)
    assert found["rows"].samples[0].labels["backend_version"] == "2.13.0"


def test_a_run_that_failed_shows_no_figure_of_an_older_one(tmp_path):
    later = STARTED + timedelta(days=1)
    failed = [failed_row(run_id="new", repeat=at, started_at=later) for at in (1, 2)]
    found = exported(tmp_path, rows([1.0], run_id="old"), failed, code=3)
    assert found["throughput_samples_per_second"].samples == []
    assert values(found["rows"], "status") == {("crashed",): 2.0}
    assert values(found["repeats"]) == {(): 0.0}
    assert values(found["last_run_timestamp_seconds"]) == {(): later.timestamp()}


def test_cells_that_differ_in_a_setting_or_a_cluster_stay_apart_and_trials_are_left_out(tmp_path):
    parts = [
        ok_row(),
        ok_row(cell_id=f"{CELL}/tf32=on", settings={"tf32": True}),
        ok_row(repeat=7, cell_id=f"{CELL}/trial=batch", trial="batch"),
        export_row(),
        generate_row(),
    ]
    found = exported(tmp_path, parts, [ok_row(run_id="r2", cluster="lab")])
    rate = values(found["throughput_samples_per_second"], "cluster", "workload")
    assert rate == {
        ("", "cnn"): 1280.0,
        ("lab", "cnn"): 1280.0,
        ("", "export"): 250.0,
        ("", "generate"): 8.0,
    }
    assert len(found["throughput_samples_per_second"].samples) == 5
    first = values(found["time_to_first_token_seconds"], "quantile")
    assert first == {("0.5",): pytest.approx(0.3), ("0.99",): pytest.approx(0.31)}


def test_hostile_labels_come_back_as_they_were(tmp_path):
    hostile = 'a"b\\c\nd} 1\n# HELP x\u2028\x1b\ud800'
    cell = f"{CELL}/do={hostile}"
    found = exported(tmp_path, [ok_row(cluster=hostile, backend_version=hostile, cell_id=cell)])
    hostile, cell = (text.replace("\ud800", "?") for text in (hostile, cell))
    names = ("cluster", "backend_version", "cell_id")
    assert values(found["repeats"], *names) == {(hostile, hostile, cell): 1.0}
    assert {family for family in found if family.startswith("x")} == set()


def test_without_a_file_it_goes_to_standard_output(tmp_path, capsys):
    csv = write(tmp_path / "a.csv", rows([1.0]))
    assert main(["export", "--format", "prometheus", str(csv)]) == 0
    assert "# TYPE framework_pilot_throughput_samples_per_second gauge" in capsys.readouterr().out


def test_a_file_that_cannot_be_written_is_said(tmp_path, capsys):
    csv = write(tmp_path / "a.csv", rows([1.0]))
    command = ["export", "--format", "prometheus", str(csv), "-o", str(tmp_path / "no" / "x.prom")]
    assert main(command) == 2
    assert "No such file or directory" in capsys.readouterr().err
