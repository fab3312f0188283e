"""What MindSpore is asked beside speed: checkpoints, shapes, files and exchange of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from backends.mindspore import models, parallel
from backends.mindspore.programs import Training, place
from bench.capabilities import Flexible
from bench.contract import INPUTS, Batch, Cell, Program, Unsupported, Weights

MODEL, OPTIMIZER = "model.ckpt", "optimizer.ckpt"


def save(program: Program, folder: Path) -> None:
    """MindSpore's "Saving and Loading the Model"; an optimizer's state is parameters too.

    Of equal processes the first writes.
    """
    assert isinstance(program, Training)
    if parallel.rank(program.cell):
        return
    ms.save_checkpoint(program.model, str(folder / MODEL))
    ms.save_checkpoint(program.optimizer, str(folder / OPTIMIZER))


def restore(program: Program, folder: Path) -> None:
    assert isinstance(program, Training)
    ms.load_param_into_net(program.model, ms.load_checkpoint(str(folder / MODEL)))
    ms.load_param_into_net(program.optimizer, ms.load_checkpoint(str(folder / OPTIMIZER)))


def flexible(cell: Cell, weights: Weights) -> Flexible:
    """A graph of ``set_inputs``: None in a shape is any length."""
    ms.set_context(mode=ms.GRAPH_MODE)
    model = models.make(cell.dims)
    models.load_weights(model, weights)
    model.set_train(False)
    model.set_inputs(*(Tensor(shape=[None, None], dtype=ms.int64) for _ in INPUTS[cell.model]))

    def infer(batch: Batch) -> np.ndarray:
        logits: np.ndarray = model(*place(cell, batch)).asnumpy()
        return logits

    return Flexible(infer, lambda: len(model.compile_cache))


def tensors(path: Path) -> Mapping[str, np.ndarray]:
    loaded = ms.load_checkpoint(str(path), format="safetensors")
    return {name: parameter.asnumpy() for name, parameter in loaded.items()}


def take(array: np.ndarray) -> Any:
    raise Unsupported(
        'mindspore.utils.dlpack is documented for "Ascend": on a CPU its from_dlpack ends the'
        " process (signal 11) where strides are left out, as NumPy does for contiguous arrays"
    )


def give(tensor: Tensor) -> Any:
    raise Unsupported("a MindSpore tensor has no __dlpack__")
