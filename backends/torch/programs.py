"""Torch's built models: what is enqueued, and how to wait for it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from backends import fed
from backends.torch import (
    attention,
    batchnorm,
    cuda_graphs,
    feeds,
    models,
    own_module,
    recompute,
)
from backends.torch.placing import device, place
from backends.torch.precision import dtypes, optimizer_bytes
from bench.contract import Batches, Cell, Optimizer, Program, Settings

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(cell: Cell) -> AbstractContextManager[Any]:
    """Mixed precision as torch documents it: float32 weights, the cast where an op gains."""
    if cell.precision not in DTYPES:
        return nullcontext()
    return torch.autocast(device(cell).type, dtype=DTYPES[cell.precision])


def synchronize(cell: Cell) -> None:
    """CPU operators return when they are done; a GPU's are only enqueued."""
    if device(cell).type == "cuda":
        torch.cuda.synchronize()


def compiled(cell: Cell, model: nn.Module) -> nn.Module:
    """What is called in the cell's mode. dynamic=False: a program's shapes are fixed, so each
    deserves code of its own.
    """
    if cell.mode != "compiled":
        return model
    return torch.compile(model, dynamic=False, options=cuda_graphs.options(cell))


def release(cell: Cell) -> None:
    """Give back the memory of a program that has let go of all that it held."""
    if cell.mode == "compiled":
        torch.compiler.reset()  # compiled code keeps its model alive
    gc.collect()
    if device(cell).type == "cuda":
        torch.cuda.empty_cache()


class Inference(Program):
    """Forward passes of ``model`` over batches that lie on the device already.

    forward: what is called, ``model`` itself or its compiled form.
    """

    def __init__(
        self, cell: Cell, model: nn.Module, batches: Batches, *, forward: Callable[..., Tensor]
    ) -> None:
        self.cell = cell
        self.model = model
        self.forward = forward
        self.autocast = autocast(cell)
        self.n_params = sum(one.numel() for one in models.trained(model))
        self.inputs = [place(cell, batch) for batch in batches.infer]
        self.output: Tensor | None = None

    def infer(self, index: int) -> None:
        with torch.inference_mode(), self.autocast:
            self.output = self.forward(*self.inputs[index])

    def logits(self) -> np.ndarray:
        assert self.output is not None, "infer comes first"
        return self.output.float().cpu().numpy()

    def frozen(self) -> Iterator[np.ndarray]:
        for parameter in models.kept(self.model):
            yield parameter.numpy(force=True)

    def wait(self) -> None:
        synchronize(self.cell)

    def device_bytes(self) -> int | None:
        return torch.cuda.memory_allocated() if device(self.cell).type == "cuda" else None

    def close(self) -> None:
        cell = self.cell
        self.__dict__.clear()
        release(cell)

    def facts(self) -> Settings:
        if not self.__dict__:
            return {}
        facts: Settings = {"compiled": hasattr(self.forward, "_orig_mod")}
        facts.update(recompute.facts(self.model) | batchnorm.facts(self.model))
        facts.update(own_module.facts(self.cell.dims, self.model))
        dtype, where = DTYPES.get(self.cell.precision, torch.float32), device(self.cell)
        facts.update(attention.facts(self.cell, self.model, dtype=dtype, where=where))
        for layer in self.model.modules():
            # A 1x1 kernel is contiguous in both formats and tells nothing.
            if isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1):
                last = layer.weight.is_contiguous(memory_format=torch.channels_last)
                facts["memory_format"] = "channels_last" if last else "contiguous"
                break
        return facts


class Training(Inference):
    """The documented training loop, one step at a time; ``infer`` uses the plain module.

    A second graph would otherwise be compiled for the evaluation mode, only for the gate.
    """

    def __init__(
        self, cell: Cell, model: nn.Module, batches: Batches, *, forward: Callable[..., Tensor]
    ) -> None:
        super().__init__(cell, model, batches, forward=forward)
        self.batches = feeds.endless(cell, batches)
        self.criterion = models.criterion(cell.dims)
        self.optimizer = optimizer(cell.optimizer, model, fused=cell.track == "tuned")
        scales = cell.precision == "fp16"
        self.scaler = torch.amp.GradScaler(device(cell).type) if scales else None
        self.last_loss: Tensor | None = None
        self.computed: list[torch.dtype] = []

    def train_step(self) -> None:
        if not self.model.training:
            self.model.train()
        inputs, label = next(self.batches)
        self.optimizer.zero_grad()
        with self.autocast:
            logits = self.forward(*inputs)
            loss = self.criterion(logits, label)
        if self.scaler is None:
            loss.backward()
            self.optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.last_loss = loss.detach()
        self.computed = [logits.dtype]

    def loss(self) -> float:
        assert self.last_loss is not None, "train_step comes first"
        return float(self.last_loss)

    def infer(self, index: int) -> None:
        if self.last_loss is not None:
            cuda_graphs.check(self.cell)
        if self.model.training:
            self.model.eval()
        with torch.inference_mode(), self.autocast:
            self.output = self.model(*self.inputs[index])

    def optimizer_bytes(self) -> int | None:
        return optimizer_bytes(self.optimizer)

    def facts(self) -> Settings:
        facts = super().facts()
        if not facts:
            return facts
        facts["optimizer"] = type(self.optimizer).__name__
        facts["optimizer_fused"] = bool(self.optimizer.param_groups[0]["fused"])
        if self.scaler is not None:
            facts["loss_scale"] = self.scaler.get_scale()
        if cuda_graphs.SETTING in self.cell.settings:
            facts[cuda_graphs.SETTING] = cuda_graphs.recorded()
        facts |= fed.facts(self.batches)
        return {**facts, **dtypes(self.model, self.optimizer, compute=self.computed)}


def optimizer(asked: Optimizer, model: nn.Module, *, fused: bool) -> torch.optim.Optimizer:
    """Torch's own optimizer; not ``fused`` leaves the choice of loop to torch."""
    common: dict[str, Any] = {"lr": asked.lr, "weight_decay": asked.weight_decay}
    if fused:
        common["fused"] = True
    if asked.name == "sgd":
        return torch.optim.SGD(models.trained(model), momentum=asked.momentum, **common)
    betas = (asked.beta1, asked.beta2)
    return torch.optim.AdamW(models.trained(model), betas=betas, eps=asked.eps, **common)
