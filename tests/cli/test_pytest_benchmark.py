"""What is exported is read by the real pytest-benchmark; the plugin is run by the real pytest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import main
from tests.comparing import rows, write
from tests.harness import environment

COMPARE = (sys.executable, "-m", "pytest_benchmark", "compare")


def exported(tmp_path: Path, name: str, factors: list[float]) -> Path:
    results = write(tmp_path / f"{name}.csv", rows(factors, run_id=name))
    out = tmp_path / f"0001_{name}.json"
    assert main(["export", str(results), "-o", str(out)]) == 0
    return out


def test_a_step_is_a_round_of_a_process(tmp_path):
    (found,) = json.loads(exported(tmp_path, "a", [1.0, 0.5]).read_text())["benchmarks"]
    # 64 samples at 1280 and at 640 samples/s.
    assert found["stats"]["data"] == [0.05, 0.1]
    assert found["stats"]["median"] == pytest.approx(0.075)
    assert found["name"].startswith("torch/cnn/cnn/small")


def test_the_real_program_compares_two_exports(tmp_path):
    before = exported(tmp_path, "before", [1.0, 1.01, 0.99])
    after = exported(tmp_path, "after", [0.5, 0.51, 0.49])
    done = subprocess.run(
        [*COMPARE, str(before), str(after), "--columns", "median,rounds"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for shown in ("50.0000 (1.0)", "100.0000 (2.00)"):
        assert shown in done.stdout


def test_nothing_measured_is_said(tmp_path, capsys):
    failed = [dict(row, status="failed", reason="x") for row in rows([1.0])]
    assert main(["export", str(write(tmp_path / "a.csv", failed))]) == 3
    assert json.loads(capsys.readouterr().out)["benchmarks"] == []


SUITE = """
FAKE = {"backend": "fake", "workload": "cnn", "size": "tiny", "python": "fake={python}"}


def test_fast_enough(pilot):
    row = pilot(**FAKE, processes=2)
    assert row["parity"] == "passed"


def test_unsupported(pilot):
    pilot(**FAKE, setting="do=unsupported")


def test_two_cells(pilot):
    pilot(**FAKE, batch="4,8")
"""


def test_the_fixture_runs_a_cell_and_reports_it(tmp_path):
    (tmp_path / "test_suite.py").write_text(SUITE.replace("{python}", sys.executable))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "bench.pytest_plugin", "--benchmark-only"),
            *(
                "--benchmark-json",
                "out.json",
                "-rfsE",
                "--rootdir",
                str(tmp_path),
                "-c",
                "/dev/null",
            ),
            "test_suite.py",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment(),
    )
    for shown in ("1 passed", "1 failed", "1 skipped", "one cell"):
        assert shown in done.stdout
    (found,) = json.loads((tmp_path / "out.json").read_text())["benchmarks"]
    assert found["stats"]["rounds"] == 2
    assert found["extra_info"]["parity"] == "passed"
    assert found["stats"]["median"] > 0
