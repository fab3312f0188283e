"""The fake backend's capabilities; ``--setting do=...`` makes each of them wrong."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from fake_backend import Recorded

from bench import safetensors
from bench.capabilities import Flexible
from bench.contract import Batch, Cell, Program, Unsupported, Weights
from workloads import numpy_forward

WEIGHTS, STATE = "weights.json", "state.pkl"


def save(program: Program, folder: Path) -> None:
    assert isinstance(program, Recorded)
    (folder / WEIGHTS).write_text(json.dumps(program.steps))
    (folder / STATE).write_bytes(pickle.dumps({"do": program.do}))


def restore(program: Program, folder: Path) -> None:
    assert isinstance(program, Recorded)
    content = (folder / STATE).read_bytes()
    if program.do == "unpickles":
        pickle.loads(content)  # what it is here to do wrong
    elif program.do != "reads_no_state" and b"mkdir" in content:
        raise ValueError("this is not a state of mine")
    program.steps = 1 if program.do == "forgets" else json.loads((folder / WEIGHTS).read_text())


def flexible(cell: Cell, weights: Weights) -> Flexible:
    shapes = set()
    do = cell.settings.get("do")

    def infer(batch: Batch) -> np.ndarray:
        shapes.add(batch["ids"].shape)
        return numpy_forward.logits(cell.dims, weights, batch) + (do == "wrong_shapes")

    return Flexible(infer, lambda: len(shapes) if do == "recompiles" else 1)


def tensors(path: Path) -> Mapping[str, np.ndarray]:
    return safetensors.read(path)


def take(array: np.ndarray) -> np.ndarray:
    return np.from_dlpack(array)


def give(tensor: np.ndarray) -> np.ndarray:
    raise Unsupported("the fake takes arrays and gives none")
