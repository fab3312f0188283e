"""BatchNorm over all processes' samples: torch.nn.SyncBatchNorm. ``batchnorm=synchronised``."""

from __future__ import annotations

from torch import nn

from backends import answers
from backends.ranks import synchronised
from bench.contract import Cell, Settings


def unsupported(cell: Cell) -> str | None:
    if found := answers.batchnorm(cell):
        return found
    if synchronised(cell) and cell.device == "cpu":
        return 'torch: "SyncBatchNorm expected input tensor to be on GPU or XPU or privateuseone"'
    return None


def apply(cell: Cell, model: nn.Module) -> nn.Module:
    """Where the cell asks for it, before anything wraps the model. Its parameters stay the same."""
    if not synchronised(cell):
        return model
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return converted


def facts(model: nn.Module) -> Settings:
    """How many layers are synchronised; nothing where none is."""
    count = sum(isinstance(one, nn.SyncBatchNorm) for one in model.modules())
    return {"batchnorm_synchronised": count} if count else {}
