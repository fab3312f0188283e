"""The types that torch keeps, multiplies in and adds up; also of the frameworks around it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from backends import answers
from bench.contract import Settings


def dtypes(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    compute: Iterable[torch.dtype],
    reduce: Iterable[torch.dtype] | None = None,
) -> Settings:
    """The fact ``dtypes``. reduce: where the gradients are not added up as they lie there."""
    parameters = list(model.parameters())
    gradients = [one.grad.dtype for one in parameters if one.grad is not None]
    return answers.dtypes(
        parameters=(one.dtype for one in parameters),
        compute=compute,
        reduce=gradients if reduce is None else reduce,
        optimizer=(one.dtype for one in moments(optimizer)),
    )


def moments(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """Beside them there are counters of steps, numbers without dimensions."""
    state = (value for values in optimizer.state.values() for value in values.values())
    return [one for one in state if torch.is_tensor(one) and one.dim()]


def optimizer_bytes(optimizer: torch.optim.Optimizer) -> int | None:
    return sum(one.nbytes for one in moments(optimizer)) or None


def product(where: torch.device, context: AbstractContextManager[Any]) -> torch.dtype:
    """The type that a product of float32 operands has in a context."""
    with context:
        return torch.ones(2, 2, device=where).mm(torch.ones(2, 2, device=where)).dtype
