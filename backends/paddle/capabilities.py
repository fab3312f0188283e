"""What Paddle is asked beside speed: checkpoints, shapes, files and exchange of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, distributed
from paddle.static import InputSpec

from backends.paddle import models
from backends.paddle.programs import Training, place
from bench.capabilities import Flexible
from bench.contract import INPUTS, Batch, Cell, Program, Weights

MODEL, OPTIMIZER = "model.pdparams", "optimizer.pdopt"


def save(program: Program, folder: Path) -> None:
    """Paddle's guide "Model saving and loading"; of equal processes the first writes."""
    assert isinstance(program, Training)
    if distributed.get_rank():
        return
    paddle.save(program.model.state_dict(), str(folder / MODEL))
    paddle.save(program.optimizer.state_dict(), str(folder / OPTIMIZER))


def restore(program: Program, folder: Path) -> None:
    assert isinstance(program, Training)
    program.model.set_state_dict(paddle.load(str(folder / MODEL)))
    program.optimizer.set_state_dict(paddle.load(str(folder / OPTIMIZER)))


def flexible(cell: Cell, weights: Weights) -> Flexible:
    """``jit.to_static`` with None for both dimensions; its cache holds a program per signature."""
    model = models.make(cell.dims)
    models.load_weights(model, weights)
    model.eval()
    specs = [InputSpec([None, None], "int64", name) for name in INPUTS[cell.model]]
    model = paddle.jit.to_static(model, input_spec=specs, full_graph=True)

    def infer(batch: Batch) -> np.ndarray:
        with paddle.no_grad():
            return model(*place(cell, batch)).numpy()

    return Flexible(infer, lambda: len(model.forward.program_cache))


def tensors(path: Path) -> Mapping[str, np.ndarray]:
    loaded = paddle.load(str(path), safetensors=True)
    return {name: tensor.numpy() for name, tensor in loaded.items()}


def take(array: np.ndarray) -> Tensor:
    return paddle.from_dlpack(array)


def give(tensor: Tensor) -> Any:
    """A tensor has ``__dlpack__`` itself."""
    return tensor
