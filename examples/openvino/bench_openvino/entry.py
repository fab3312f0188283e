"""What the harness knows of this backend before it starts a worker: it imports no OpenVINO."""

from pathlib import Path

from backends.entry import Entry

ENTRY = Entry(
    "bench_openvino.adapter",
    python="3.11",
    locks=("cpu",),
    lock_folder=Path(__file__).parent / "locks",
    unlocked={"cuda": "OpenVINO has no plugin for it"},
    modes=("compiled",),
    imports=("openvino", "onnx"),
    formats={"onnx": "openvino", "native": "openvino"},
    trains=False,
    capabilities="bench_openvino.capabilities",
)
