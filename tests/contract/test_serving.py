"""A model file of the user's, in the environments of the backends that serve one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.registry import BACKENDS
from tests.contract.asking import ROOT, cell, python, selected

SERVING = [name for name in selected() if BACKENDS[name].serves]

MAKE = """
import json, sys
from pathlib import Path
import numpy as np, onnx
from bench.contract import Cell
from backends.onnxruntime import models
from bench import safetensors
cell = Cell.from_json(json.loads(Path(sys.argv[1]).read_text()))
made = models.make(cell.dims, safetensors.read(Path(sys.argv[2])))
onnx.save(made, sys.argv[3], save_as_external_data=True, location="weights", size_threshold=1024)
"""


def written(model: str, folder: Path) -> Path:
    """As exporters do: batch, and of texts the length, left open, and weights in a second file."""
    from workloads import prepare

    asked = cell("onnxruntime", model, format="onnx").to_json()
    asked["dims"] |= {"sequence": 0} if model == "transformer" else {}
    described, file = folder / "cell.json", folder / "model.onnx"
    described.write_text(json.dumps(asked))
    weights = prepare.ensure(model, "tiny").export_weights
    made = [python("onnxruntime"), "-c", MAKE, described, weights, file]
    subprocess.run(made, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    return file


def infer(backend: str, file: Path, *arguments: str) -> list[dict[str, Any]]:
    out = file.with_name("rows.jsonl")
    asked = ["--workload", "infer", "--onnx", str(file), "--backend", backend, "--out", str(out)]
    fast = ["--device", "cpu", "--threads", "1", "--load-seconds", "0.2", "--precision", "all"]
    own = ["--python", f"{backend}={python(backend)}"]
    done = subprocess.run(
        [sys.executable, "-m", "bench", "run", *asked, *fast, *own, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in out.read_text().splitlines()]


backends = pytest.mark.parametrize(
    "backend", [pytest.param(name, marks=pytest.mark.backend(name)) for name in SERVING]
)


def judged(rows: list[dict[str, Any]], *, how: str) -> None:
    """Each precision at full load and at a rate, and int8 what was asked for."""
    assert [row["status"] for row in rows] == ["ok"] * 4, rows
    assert [(row["precision"], row["load"]) for row in rows] == [
        (precision, load) for precision in ("fp32", "int8") for load in ("full", "50% of full")
    ]
    assert all(row["requests"] and row["latency_ms"]["p50"] > 0 for row in rows)
    assert rows[0]["settings"]["quantization"] == "none"
    assert rows[2]["settings"]["quantization"] == how
    assert rows[2]["settings"]["threads"] == 1
    # Quantised products are another function: neither the same to the bit nor garbage.
    assert 1e-4 < rows[2]["output_err"] < 0.5


@backends
def test_a_network_of_convolutions_is_calibrated_on_the_users_samples(
    backend: str, tmp_path: Path
) -> None:
    file, samples = written("cnn", tmp_path), tmp_path / "samples.npz"
    shape = json.loads((tmp_path / "cell.json").read_text())["dims"]
    images = np.random.default_rng(0).random(
        (20, shape["channels"], shape["image"], shape["image"])
    )
    np.savez(samples, image=images.astype(np.float32))
    rows = infer(backend, file, "--data", str(samples), "--batch", "4")
    judged(rows, how="static")
    assert rows[0]["data"] == "samples.npz"


@backends
def test_a_network_of_products_is_quantised_as_it_runs(backend: str, tmp_path: Path) -> None:
    file = written("transformer", tmp_path)
    judged(infer(backend, file, "--dim", "sequence=16"), how="dynamic")
