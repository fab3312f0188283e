"""DeepSpeed's engine of a network, and its configuration, as its users write it."""

from __future__ import annotations

from typing import Any

import deepspeed
import torch
from torch import Tensor, nn

from backends.torch import models as torch_models
from backends.torch import programs as torch_programs
from backends.torch.own_module import Loss
from backends.torch.parallel import SHARDED
from backends.torch.programs import DTYPES
from bench.contract import Cell

STAGE, SHARDING_STAGE = "1", "3"
"""ZeRO's stage where the cell does not say: it splits the optimizer's state. The last one splits
the parameters and the gradients, too.
"""


class WithLoss(nn.Module):
    """What an engine is made of: the model's inputs and the labels in, the mean loss out."""

    def __init__(self, network: nn.Module, criterion: Loss) -> None:
        super().__init__()
        self.network = network
        self.criterion = criterion

    def forward(self, inputs: tuple[Tensor, ...], label: Tensor) -> Tensor:
        return self.criterion(self.network(*inputs), label)


def zero_stage(cell: Cell) -> int:
    usual = SHARDING_STAGE if SHARDED in cell.settings else STAGE
    return int(cell.settings.get("zero_stage", usual))


def config(cell: Cell) -> dict[str, Any]:
    """The configuration that DeepSpeed's users write as JSON."""
    stage = zero_stage(cell)
    made: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": cell.batch,
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,  # SGD is one
        "dataloader_drop_last": True,
        "gradient_clipping": 0.0,  # it clips to a norm of 1 by default
    }
    if cell.precision in DTYPES:
        # Not its "bf16" or "fp16": they change the parameters' type, and then BatchNorm stops on a
        # CPU, where it wants them of one type with the running statistics. For float16 it scales
        # the loss by torch's GradScaler.
        made["torch_autocast"] = {"enabled": True, "dtype": name(DTYPES[cell.precision])}
    if cell.track == "tuned":
        asked = cell.optimizer
        if asked.name == "adamw":
            betas = [asked.beta1, asked.beta2]
            decay = asked.weight_decay
            parameters = {"lr": asked.lr, "betas": betas, "eps": asked.eps, "weight_decay": decay}
            made["optimizer"] = {"type": "AdamW", "params": parameters}
    if stage in (1, 2) and (cell.track == "tuned" or cell.precision == "fp16"):
        # Nothing reads it. In fp16 it would find an overflow first and skip the step, and the
        # GradScaler, which is not asked then, would never lower its scale.
        made["zero_optimization"]["compute_grad_norm"] = False
    return made


def initialize(cell: Cell, network: nn.Module) -> Any:
    """The engine of a network; torch's optimizer, unless the configuration names its own."""
    module, asked = WithLoss(network, torch_models.criterion(cell.dims)), config(cell)
    optimizer = None
    if "optimizer" not in asked:
        fused = cell.track == "tuned"
        optimizer = torch_programs.optimizer(cell.optimizer, module, fused=fused)
    trained = torch_models.trained(module)  # of its own optimizer
    engine, *_ = deepspeed.initialize(
        model=module, optimizer=optimizer, model_parameters=trained, config=asked
    )
    return engine


def name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
