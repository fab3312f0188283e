"""What PyTorch is asked beside speed: checkpoints, shapes, files and exchange of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, distributed
from torch._dynamo import lookup_backend  # the documentation's "Custom Backends" names it

from backends.torch import models
from backends.torch.placing import device, place
from backends.torch.programs import Training
from bench.capabilities import Flexible
from bench.contract import Batch, Cell, Program, Weights

FILE = "checkpoint.pt"


def save(program: Program, folder: Path) -> None:
    """PyTorch's "Saving and Loading a General Checkpoint"; of equal processes the first writes."""
    assert isinstance(program, Training)
    if distributed.is_initialized() and distributed.get_rank():
        return
    state = {
        "model_state_dict": program.model.state_dict(),
        "optimizer_state_dict": program.optimizer.state_dict(),
    }
    torch.save(state, folder / FILE)


def restore(program: Program, folder: Path) -> None:
    assert isinstance(program, Training)
    state = torch.load(folder / FILE)
    program.model.load_state_dict(state["model_state_dict"])
    program.optimizer.load_state_dict(state["optimizer_state_dict"])


def flexible(cell: Cell, weights: Weights) -> Flexible:
    """``torch.compile(dynamic=True)``, whose compiler counts how often it is called."""
    model = models.make(cell.dims)
    models.load_weights(model, weights)
    model.to(device(cell)).eval()
    compiled: list[Any] = []
    inductor = lookup_backend("inductor")

    def counting(graph: Any, inputs: Any) -> Any:
        compiled.append(graph)
        return inductor(graph, inputs)

    forward = torch.compile(model, dynamic=True, backend=counting)

    def infer(batch: Batch) -> np.ndarray:
        with torch.inference_mode():
            logits: Tensor = forward(*place(cell, batch))
        return logits.cpu().numpy()

    return Flexible(infer, lambda: len(compiled))


def tensors(path: Path) -> Mapping[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in load_file(path).items()}


def take(array: np.ndarray) -> Tensor:
    return torch.from_dlpack(array)


def give(tensor: Tensor) -> Tensor:
    """A tensor has ``__dlpack__`` itself."""
    return tensor
