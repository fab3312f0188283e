"""A PyTorch module of the user's own: torch trains and exports it, ONNX Runtime serves the file."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from bench.rows import files
from tests.contract.asking import ROOT, python, run_tiny, selected

MODULE = Path(__file__).with_name("own_module")
ERRORS = Path(__file__).with_name("own_errors.py")

pytestmark = [
    pytest.mark.backend("torch"),
    pytest.mark.skipif(not {"torch", "onnxruntime"} <= set(selected()), reason="not selected"),
]

SPEC = f"""
[size.ours]
model = "module"
module = "own_net:make"
path = "{MODULE}"
batch = 6
gate_batch = 4
steps_min = 1
measure_s = 0.1
warmup_cap = 1
train_batches = 5
"""


def test_it_passes_its_own_gate_and_its_file_is_served(tmp_path: Path) -> None:
    spec, out = tmp_path / "pilot.toml", tmp_path / "own.csv"
    spec.write_text(SPEC, encoding="utf-8")
    served = ["--python", f"onnxruntime={python('onnxruntime')}"]
    asked = ["--spec", str(spec), "--workload", "module,export", "--size", "ours"]
    done = run_tiny("torch", *asked, "--mode", "eager", *served, out=out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "runs your code: own_net:make (in the workers and for the reference)" in done.stdout
    trained, exported = sorted(files.read(out), key=lambda row: str(row["export_format"]))
    for row in (trained, exported):
        assert (row["status"], row["parity"]) == ("ok", "passed"), row["reason"]
        assert row["settings"]["dropout"] == "0 in 1 layers"
        assert "/spec=" in row["cell_id"]
    # conv: 3 x 8 x 9 + 8; norm: 16; head: 13 x 2 + 2. Products: 256 x 8 x 27 + 13 x 2.
    assert trained["param_count"] == 224 + 16 + 28
    assert exported["flops_per_sample"] == 2 * (256 * 8 * 27 + 13 * 2)
    assert trained["flops_per_sample"] == 3 * exported["flops_per_sample"]
    assert exported["export_rung"] == "latency"
    assert exported["settings"]["consumer"]["onnxruntime"]


START = "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n"
MAKE = "def make():\n    return nn.Linear(3, 2)\n"
EXAMPLE = "def example(batch, generator):\n    return torch.rand(batch, 3), torch.rand(batch, 2)\n"
NET = "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
NET += "        self.layer = nn.Linear(3, 2)\n    def forward(self, x):\n        return "

WRONG = {
    "fine": (MAKE + EXAMPLE, "flops 12, parameters 8"),
    # An LSTM of 3 inputs and 2 units: 4 gates of 2 x (3 + 2) products, and two biases of 8.
    "recurrent": (
        NET.replace("nn.Linear", "nn.LSTM") + "self.layer(x[:, None])[0][:, 0]\n"
        "def make():\n    return Net()\n" + EXAMPLE,
        "flops 80, parameters 56",
    ),
    "leaves": (
        "raise SystemExit(0)\n",
        "raises SystemExit: 0 (leaves.py, line 4)",
    ),
    "needs": ("import nowhere\n", "No module named 'nowhere' (needs.py, line 4): bring an interp"),
    "misnamed": ("def made():\n    pass\n", "misnamed has no function make: it has made"),
    "raises": (
        "def make():\n    raise ValueError('no width')\n",
        "ValueError: no width",
    ),
    "nothing": ("def make():\n    return 1\n", "returns a int: it must return a torch.nn.Module"),
    "half": (
        MAKE.replace("nn.Linear(3, 2)", "nn.Linear(3, 2).half()") + EXAMPLE,
        "half:make: weight of its state is torch.float16: make it torch.float32 or torch.int64",
    ),
    "unfed": (MAKE, "unfed has no function example: it has make"),
    "lonely": (MAKE + "def example(batch, generator):\n    return torch.rand(batch, 3)\n", "tuple"),
    "halves": (MAKE + EXAMPLE.replace("3),", "3).half(),"), "input0 is torch.float16: make it"),
    "short": (MAKE + EXAMPLE.replace("rand(batch, 3)", "rand(2, 3)"), "dimension must be 64"),
    "pair": (NET + "x, x\ndef make():\n    return Net()\n" + EXAMPLE, "returns a tuple: it must"),
    "flat": (
        NET + "x.sum()\ndef make():\n    return Net()\n" + EXAMPLE,
        "must return floats",
    ),
    "random": (MAKE, "is the name of a module that is imported already: rename yours"),
    "noisy": (
        NET + "F.dropout(self.layer(x), 0.5)\ndef make():\n    return Net()\n" + EXAMPLE,
        "two passes over one batch differ",
    ),
    "vector": (
        MAKE + EXAMPLE + "def loss(outputs, target):\n    return (outputs - target).mean(1)\n",
        "loss returns (4,): it must return one number",
    ),
    "single": (
        NET + "self.layer(x) + torch.ones(2) @ torch.ones(2, 2)\ndef make():\n    return Net()\n"
        "def loss(outputs, target):\n    return (outputs @ torch.ones(2, 1)).mean()\n" + EXAMPLE,
        "in float64, forward, loss or backward raises RuntimeError",
    ),
    "explodes": (
        MAKE + EXAMPLE + "def loss(outputs, target):\n    return outputs.mean() / 0\n",
        "losses or outputs are not finite: lower optimizer.lr",
    ),
}


def test_what_is_wrong_with_a_module_is_said_in_one_line(tmp_path: Path) -> None:
    for name, (text, _) in WRONG.items():
        (tmp_path / f"{name}.py").write_text(START + text, encoding="utf-8")
    answer = tmp_path / "answer.json"
    done = subprocess.run(
        [python("torch"), ERRORS, tmp_path, answer],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(answer.read_text(encoding="utf-8"))
    assert {name: text for name, text in said.items() if WRONG[name][1] not in text} == {}
    assert not [message for message in said.values() if "\n" in message]
