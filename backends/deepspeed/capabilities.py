"""What DeepSpeed is asked beside speed: its engine's checkpoints; the rest is PyTorch's."""

from __future__ import annotations

from pathlib import Path

from backends.deepspeed.programs import Training
from backends.torch import capabilities as torch_capabilities
from bench.contract import Program

flexible = torch_capabilities.flexible
tensors = torch_capabilities.tensors
take = torch_capabilities.take
give = torch_capabilities.give


def save(program: Program, folder: Path) -> None:
    """DeepSpeed's "Getting Started", "Model Checkpointing"."""
    assert isinstance(program, Training)
    program.engine.save_checkpoint(str(folder))


def restore(program: Program, folder: Path) -> None:
    """The engine itself finds the newest in the folder."""
    assert isinstance(program, Training)
    program.engine.load_checkpoint(str(folder))
