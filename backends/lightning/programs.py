"""Lightning's built models: a LightningModule, and ``Trainer.fit`` advanced batch by batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import Strategy
from torch import Tensor, nn

from backends.stepwise import Pause, Stepwise
from backends.torch import feeds, models
from backends.torch import programs as torch_programs
from backends.torch.feeds import Sample
from backends.torch.own_module import Loss
from backends.torch.placing import device
from backends.torch.precision import dtypes, optimizer_bytes, product
from bench.contract import Batches, Cell, Optimizer, Settings

PRECISIONS = {"fp32": "32-true", "tf32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


class Classifier(LightningModule):
    """Any network that maps the model's inputs to logits, with its loss and its optimizer."""

    def __init__(
        self, network: nn.Module, criterion: Loss, optimizer: Optimizer, *, fused: bool
    ) -> None:
        super().__init__()
        self.network = network
        self.criterion = criterion
        self.asked = optimizer
        self.fused = fused

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.network(*inputs)

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        inputs, label = batch
        return self.criterion(self(*inputs), label)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch_programs.optimizer(self.asked, self, fused=self.fused)


def wrapped(cell: Cell, network: nn.Module, kind: type[Classifier] = Classifier) -> Any:
    """The LightningModule around a network, compiled as a whole where the cell asks for it."""
    criterion = models.criterion(cell.dims)
    module = kind(network, criterion, cell.optimizer, fused=cell.track == "tuned")
    # dynamic=False: a program's shapes are fixed, so each deserves code of its own.
    return torch.compile(module, dynamic=False) if cell.mode == "compiled" else module


class Endless:
    """A train loader over samples that lie on the device; it starts again where they end."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples

    def __iter__(self) -> Iterator[Sample]:
        return itertools.cycle(self.samples)


class Pace(Callback):
    """Pauses ``fit`` before its first batch and after every batch, whose loss it keeps."""

    def __init__(self, pause: Pause) -> None:
        self.pause = pause
        self.loss: Tensor | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.pause()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *batch: Any
    ) -> None:
        self.loss = outputs["loss"]
        self.pause()


class Training(torch_programs.Inference):
    """``Trainer.fit`` over an endless loader; ``infer`` uses the plain network, as torch's does.

    kind: of the LightningModule. strategy: the Trainer's.
    """

    def __init__(
        self,
        cell: Cell,
        model: nn.Module,
        batches: Batches,
        *,
        kind: type[Classifier] = Classifier,
        strategy: str | Strategy = "auto",
    ) -> None:
        super().__init__(cell, model, batches, forward=wrapped(cell, model, kind))
        self.strategy = strategy
        self.source = feeds.loader(cell, batches.samples) if batches.samples else None
        self.batches = self.source or Endless(feeds.placed(cell, batches))
        self._begin()

    def resume(self, checkpoint: Path) -> None:
        """Begin anew where a checkpoint says."""
        self.loop.close()
        self._begin(checkpoint)

    def _begin(self, checkpoint: Path | None = None) -> None:
        """To the first batch: what fit sets up belongs to the build."""
        self.loop = Stepwise(lambda pause: self._fit(pause, checkpoint))
        self.loop.step()

    def _fit(self, pause: Pause, checkpoint: Path | None) -> None:
        self.pace = Pace(pause)
        self.trainer = trainer(self.cell, self.pace, self.strategy)
        self.trainer.fit(self.forward, train_dataloaders=self.batches, ckpt_path=checkpoint)

    def train_step(self) -> None:
        if not self.model.training:
            self.model.train()
        self.loop.step()

    def loss(self) -> float:
        assert self.pace.loss is not None, "train_step comes first"
        return float(self.pace.loss)

    def infer(self, index: int) -> None:
        if self.model.training:
            self.model.eval()
        with torch.inference_mode(), self.autocast:
            self.output = self.model(*self.inputs[index])

    def optimizer_bytes(self) -> int | None:
        return optimizer_bytes(self.trainer.optimizers[0])

    def close(self) -> None:
        self.loop.close()
        super().close()

    def facts(self) -> Settings:
        facts = super().facts()
        if not facts or not self.trainer.optimizers:  # of a checkpoint that could not be read
            return facts
        module, optimizer = self.trainer.lightning_module, self.trainer.optimizers[0]
        # fit has taken the compiled form apart and keeps what it compiled with in the module.
        facts["compiled"] = module._compiler_ctx is not None  # noqa: SLF001  no public way
        facts["precision"] = self.trainer.precision
        if self.source:
            facts["input"] = feeds.name(self.source, self.source.num_workers)
        facts["strategy"] = type(self.trainer.strategy).__name__
        facts["accelerator"] = type(self.trainer.accelerator).__name__
        facts["optimizer"] = type(optimizer).__name__
        facts["optimizer_fused"] = bool(optimizer.param_groups[0]["fused"])
        precision = self.trainer.precision_plugin
        if (scaler := getattr(precision, "scaler", None)) is not None:
            facts["loss_scale"] = scaler.get_scale()
        if self.pace.loss is None:  # no step yet
            return facts
        computed = product(device(self.cell), precision.forward_context())
        return {**facts, **dtypes(self.model, optimizer, compute=[computed])}


def trainer(cell: Cell, pace: Pace, strategy: str | Strategy) -> Trainer:
    """A Trainer that only trains: what it would write, print or log is turned off."""
    return Trainer(
        accelerator="cpu" if cell.device == "cpu" else "cuda",
        devices=cell.processes,
        num_nodes=cell.world_size // cell.processes,
        strategy=strategy,
        precision=PRECISIONS[cell.precision],
        max_epochs=-1,
        max_steps=-1,
        callbacks=[pace],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
