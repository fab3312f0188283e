"""DeepSpeed's built models: an engine around the network and its loss, stepped as documented."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import deepspeed
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import SequentialSampler

from backends import fed
from backends.deepspeed import precision
from backends.deepspeed.engine import initialize, name
from backends.fed import Fed
from backends.torch import exports as torch_export
from backends.torch import feeds
from backends.torch import models as torch_models
from backends.torch import programs as torch_programs
from backends.torch.placing import device
from backends.torch.precision import optimizer_bytes
from bench.contract import Batches, Cell, Settings
from bench.pipeline import Samples


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
        facts["autocast"] = name(engine.torch_autocast_dtype()) if _autocasts(engine) else None
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
        samples = batches.samples
        self.batches = self._fed(samples) if samples else feeds.endless(cell, batches)
        self.last_loss: Tensor | None = None

    def _fed(self, samples: Samples) -> Fed:
        """The engine's own loader: it would shuffle, and has two workers unless told another."""
        rows, options = feeds.Rows(samples), feeds.options(self.cell)
        loader = self.engine.deepspeed_io(
            rows,
            data_sampler=SequentialSampler(rows),
            collate_fn=options.get("collate_fn"),
            pin_memory=device(self.cell).type == "cuda",
            num_local_io_workers=options.get("num_workers"),
        )
        name = feeds.name(loader, loader.num_local_io_workers)
        return Fed(loader, partial(feeds.send, self.cell), name=name)

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

    def optimizer_bytes(self) -> int | None:
        return optimizer_bytes(self.engine.basic_optimizer)

    def infer(self, index: int) -> None:
        if self.model.training:
            self.engine.eval()
        super().infer(index)

    def facts(self) -> Settings:
        facts = super().facts()
        if not facts:
            return facts
        facts["compiled"] = self.engine.is_compiled
        facts |= fed.facts(self.batches)
        return {**facts, **precision.facts(self.cell, self.engine)}


def _autocasts(engine: Any) -> bool:
    return bool(engine.torch_autocast_enabled())
