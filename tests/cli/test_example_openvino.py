"""The package of ``examples/openvino`` as an installer lays it out, in its own environment."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import ROOT, environment

pytestmark = pytest.mark.builds_env
EXAMPLE = ROOT / "examples" / "openvino"

Bench = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """``bench`` where the package is installed: its folder on the path, and its entry points."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    site = tmp_path_factory.mktemp("site")
    info = site / f"bench_openvino-{project['version']}.dist-info"
    info.mkdir()
    named = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(named, encoding="utf-8")
    points = project["entry-points"]["bench.backends"].items()
    lines = ["[bench.backends]", *(f"{name} = {value}" for name, value in points)]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    path = os.pathsep.join(map(str, (site, EXAMPLE, ROOT)))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bench", *arguments],
            cwd=site,
            env={**environment(), "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_its_environment_is_built_from_the_lock_that_it_brings(bench: Bench) -> None:
    done = bench("env", "openvino", "--json")
    assert done.returncode == 0, done.stderr
    python = json.loads(done.stdout)["openvino"]["python"]
    # The harness's own packages are none of it: pandas is one.
    script = (
        'import importlib.util as u; print(*map(bool, map(u.find_spec, ["openvino", "pandas"])))'
    )
    found = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout == "True False\n"


def test_it_keeps_the_contract(bench: Bench) -> None:
    done = bench("check-backend", "openvino", "--json")
    lines = json.loads(done.stdout)
    assert [line for line in lines if line["status"] in ("missing", "wrong")] == []
    assert done.returncode == 0
    assert len([line for line in lines if line["what"].startswith("the export ladder")]) == 4


def test_its_cell_is_a_row_like_any_other(bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    asked = ["--backend", "openvino", "--workload", "export", "--size", "tiny", "--device", "cpu"]
    done = bench("run", *asked, "--repeats", "1", "--threads", "1", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    with out.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["model"] for row in rows} == {"cnn", "transformer"}
    for row in rows:
        assert (row["status"], row["parity"], row["export_rung"]) == ("ok", "passed", "latency")
        # Its own choice would be bfloat16 wherever the processor has it.
        assert json.loads(row["settings"])["dtypes"]["compute"] == "float32"
