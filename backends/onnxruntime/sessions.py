"""ONNX Runtime sessions: what is enqueued, and how to wait for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from bench.contract import Cell, Program, Settings

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "rocm": "MIGraphXExecutionProvider",
}
SPINNING = "session.intra_op.allow_spinning"

Feed = Mapping[str, np.ndarray]
"""The inputs of one run, by name."""


def options(cell: Cell) -> ort.SessionOptions:
    """One pool of ``cell.threads``; idle threads spin, as by default, unless asked otherwise.

    Not spinning was tried for ``tuned``: 1 to 46 % slower with its fp32 files at batch 1.
    """
    chosen = ort.SessionOptions()
    chosen.intra_op_num_threads = cell.threads
    chosen.inter_op_num_threads = 1
    spinning = cell.settings.get("spinning", "on")
    chosen.add_session_config_entry(SPINNING, "1" if spinning == "on" else "0")
    return chosen


def providers(cell: Cell) -> list[Any]:
    if cell.device == "cuda":  # TF32 is its default, whatever the file says
        return [(PROVIDERS["cuda"], {"use_tf32": "1" if cell.precision == "tf32" else "0"})]
    return [PROVIDERS[cell.device]]


class Bound:
    """A session and inputs that are bound to it once, so that a run copies nothing."""

    def __init__(self, cell: Cell, model: str | bytes, feeds: list[Feed]) -> None:
        # ONNX Runtime's words for device memory: its own "cuda" also means a ROCm device.
        self.kind = "cpu" if cell.device == "cpu" else "cuda"
        self.session = ort.InferenceSession(model, options(cell), providers=providers(cell))
        self.bindings = [self.bind(feed) for feed in feeds]
        self.current: Any = None

    def bind(self, feed: Feed) -> Any:
        binding = self.session.io_binding()
        for name, value in feed.items():
            placed = ort.OrtValue.ortvalue_from_numpy(value, self.kind, 0)
            binding.bind_ortvalue_input(name, placed)
        binding.bind_output(self.session.get_outputs()[0].name, self.kind)
        return binding

    def run(self, index: int = 0) -> Any:
        """Enqueue; the binding, which has the outputs."""
        self.current = self.bindings[index]
        self.session.run_with_iobinding(self.current)
        return self.current

    def wait(self) -> None:
        if self.current is not None:
            self.current.synchronize_outputs()

    def facts(self) -> Settings:
        """What is in force, read back from the session."""
        return {
            "providers": self.session.get_providers(),
            "provider_options": self.session.get_provider_options(),
            **read_options(self.session.get_session_options()),
        }


def read_options(chosen: ort.SessionOptions) -> Settings:
    return {
        "threads": chosen.intra_op_num_threads,
        "interop_threads": chosen.inter_op_num_threads,
        "spinning": chosen.get_session_config_entry(SPINNING) == "1",
        "graph_optimization": chosen.graph_optimization_level.name,
        "execution_mode": chosen.execution_mode.name,
    }


class Inference(Program):
    """A file that is ready to infer. file_facts: what was found when it was made."""

    def __init__(self, bound: Bound, *, path: Path, n_params: int, file_facts: Settings) -> None:
        self.bound = bound
        self.path = path
        self.n_params = n_params
        self.file_facts = file_facts

    def infer(self, index: int) -> None:
        self.bound.run(index)

    def logits(self) -> np.ndarray:
        logits: np.ndarray = self.bound.current.copy_outputs_to_cpu()[0]
        return logits.astype(np.float32, copy=False)

    def wait(self) -> None:
        self.bound.wait()

    def close(self) -> None:
        self.__dict__.clear()

    def facts(self) -> Settings:
        return {**self.bound.facts(), **self.file_facts} if self.__dict__ else {}
