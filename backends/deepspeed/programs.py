"""DeepSpeed's built models: an engine around the network and its loss, stepped as documented."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deepspeed
import numpy as np
import torch
from torch import Tensor, nn

from backends.deepspeed import precision
from backends.torch import exports as torch_export
from backends.torch import models as torch_models
from backends.torch import programs as torch_programs
from backends.torch.own_module import Loss
from backends.torch.parallel import SHARDED
from backends.torch.programs import DTYPES, device, place
from bench.contract import Batches, Cell, Settings

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
        "gradient_clipping": 0.0,  # it clips to a norm of 1 by default
    }
    if cell.precision in DTYPES:
        # Not its "bf16" or "fp16": they change the parameters' type, and then BatchNorm stops on a
        # CPU, where it wants them of one type with the running statistics. For float16 it scales
        # the loss by torch's GradScaler.
        made["torch_autocast"] = {"enabled": True, "dtype": _name(DTYPES[cell.precision])}
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


class Inference(torch_programs.Inference):
    """The evaluation of an engine's network, which is also what is exported."""

    def __init__(self, cell: Cell, model: nn.Module, batches: Batches) -> None:
        # dynamic=False: a program's shapes are fixed, so each deserves code of its own.
        compiles = cell.mode == "compiled" and not cell.trains
        forward = torch.compile(model, dynamic=False) if compiles else model
        # First: ZeRO's third stage leaves the parameters empty, and they are counted here.
        super().__init__(cell, model, batches, forward=forward)
        self.engine = initialize(cell, model)
        self.engine.train(cell.trains)

    def infer(self, index: int) -> None:
        # Not inference_mode: the third stage would gather parameters that cannot be trained on.
        with torch.no_grad(), self.autocast:
            self.output = self.forward(*self.inputs[index])

    def frozen(self) -> Iterator[np.ndarray]:
        for parameter in torch_models.kept(self.model):
            with deepspeed.zero.GatheredParameters([parameter]):
                yield parameter.numpy(force=True)

    def close(self) -> None:
        """Release the memory; DeepSpeed itself holds on to an engine of ZeRO's third stage."""
        self.engine.destroy()
        super().close()

    def facts(self) -> Settings:
        facts = super().facts()
        if not facts:
            return facts
        engine = self.engine
        basic = engine.basic_optimizer
        facts["zero_stage"] = engine.zero_optimization_stage()
        facts["zero_optimizer"] = type(engine.optimizer).__name__
        facts["optimizer"] = f"{type(basic).__module__.split('.')[0]}.{type(basic).__name__}"
        facts["optimizer_fused"] = bool(basic.param_groups[0].get("fused"))
        if self.cell.model == "cnn":
            image = self.inputs[0][0]
            last = image.is_contiguous(memory_format=torch.channels_last)
            facts["image_format"] = "channels_last" if last else "contiguous"
        facts["autocast"] = _name(engine.torch_autocast_dtype()) if _autocasts(engine) else None
        facts["gradient_clipping"] = engine.gradient_clipping()
        facts["world_size"] = engine.world_size
        return facts

    def export(self, path: Path) -> Settings:
        """Write the network; at ZeRO's third stage its parameters are gathered for it."""
        if self.engine.zero_optimization_stage() < 3:
            return torch_export.write(self.cell, self, path)
        # Its hooks cannot be exported: the gathered parameters go into a fresh network.
        fresh = copy.copy(self)
        fresh.model = torch_models.make(self.cell.dims).eval()
        with deepspeed.zero.GatheredParameters(list(self.model.parameters())):
            fresh.model.load_state_dict(self.model.state_dict())
        return torch_export.write(self.cell, fresh, path)


class Training(Inference):
    """Forward, backward and step of the engine."""

    def __init__(self, cell: Cell, model: nn.Module, batches: Batches) -> None:
        super().__init__(cell, model, batches)
        if cell.mode == "compiled":
            self.engine.compile(compile_kwargs={"dynamic": False})
        to = device(cell)
        placed = [
            (place(cell, batch), torch.from_numpy(np.array(batch["label"])).to(to))
            for batch in batches.train
        ]
        self.batches = itertools.cycle(placed)
        self.last_loss: Tensor | None = None

    def train_step(self) -> None:
        if not self.model.training:  # the engine's own flag stays as it is
            self.engine.train()
        inputs, label = next(self.batches)
        loss = self.engine(inputs, label)
        self.engine.backward(loss)
        self.engine.step()
        self.last_loss = loss.detach()

    def loss(self) -> float:
        assert self.last_loss is not None, "train_step comes first"
        return float(self.last_loss)

    def infer(self, index: int) -> None:
        if self.model.training:
            self.engine.eval()
        super().infer(index)

    def facts(self) -> Settings:
        facts = super().facts()
        if not facts:
            return facts
        facts["compiled"] = self.engine.is_compiled
        return {**facts, **precision.facts(self.cell, self.engine)}


def _autocasts(engine: Any) -> bool:
    return bool(engine.torch_autocast_enabled())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
