"""Where torch's tensors lie: the device, and the order of an image's axes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.contract import Batch, Cell, inputs_of


def device(cell: Cell) -> torch.device:
    """ROCm builds of torch answer to the name cuda."""
    return torch.device("cpu" if cell.device == "cpu" else "cuda")


def memory_format(cell: Cell) -> torch.memory_format:
    tuned = cell.track == "tuned" and cell.model == "cnn"
    return torch.channels_last if tuned else torch.contiguous_format


def place(cell: Cell, batch: Batch) -> tuple[Tensor, ...]:
    """The model's inputs on the device, images in the model's memory format."""
    names = inputs_of(cell.model, len(batch) - 1)
    # A copy: the batches are read-only views, and torch has no read-only tensors.
    tensors = [torch.from_numpy(np.array(batch[name])) for name in names]
    if cell.model == "cnn":
        tensors = [image.to(memory_format=memory_format(cell)) for image in tensors]
    return tuple(tensor.to(device(cell)) for tensor in tensors)
