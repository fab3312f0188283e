"""What Lightning is asked beside speed: the Trainer's checkpoints; the rest is PyTorch's."""

from __future__ import annotations

from pathlib import Path

from backends.lightning.programs import Training
from backends.torch import capabilities as torch_capabilities
from bench.contract import Program

FILE = "checkpoint.ckpt"

flexible = torch_capabilities.flexible
tensors = torch_capabilities.tensors
take = torch_capabilities.take
give = torch_capabilities.give


def save(program: Program, folder: Path) -> None:
    """Lightning's "Saving and loading checkpoints (basic)" and its "Manual saving"."""
    assert isinstance(program, Training)
    program.trainer.save_checkpoint(folder / FILE)


def restore(program: Program, folder: Path) -> None:
    """Its "Resume training state": a Trainer reads the file as its ``fit`` begins."""
    assert isinstance(program, Training)
    program.resume(folder / FILE)
