"""The networks, and how the canonical weights get into them.

Initialisers are PyTorch's own and of no consequence: ``load_weights`` replaces every value.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backends.torch import own_module
from backends.torch.cnn import Cnn
from backends.torch.decoder import Decoder
from backends.torch.encoder import Encoder
from bench.dims import AnyDims, CnnDims, DecoderDims, ModuleDims


def make(dims: AnyDims) -> nn.Module:
    if isinstance(dims, ModuleDims):
        return own_module.make(dims)
    if isinstance(dims, CnnDims):
        return Cnn(dims)
    return Decoder(dims) if isinstance(dims, DecoderDims) else Encoder(dims)


def loss(logits: Tensor, label: Tensor) -> Tensor:
    """The mean over the samples, or over all tokens: logits [..., classes], label [...]."""
    return F.cross_entropy(logits.flatten(0, -2), label.flatten())


def criterion(dims: AnyDims) -> own_module.Loss:
    """Of outputs and labels, the mean loss."""
    return own_module.loss(dims) if isinstance(dims, ModuleDims) else loss


def trained(module: nn.Module) -> list[nn.Parameter]:
    """All but frozen parameters."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def kept(module: nn.Module) -> list[nn.Parameter]:
    """The frozen ones."""
    return [parameter for parameter in module.parameters() if not parameter.requires_grad]


def load_weights(module: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Copy the canonical weights in; every name must match, but BatchNorm's step counters.

    ValueError names what is missing or unknown.
    """
    state = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
    missing, unknown = module.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unknown:
        raise ValueError(f"weights do not fit the model: missing {missing}, unknown {unknown}")
