"""Fused attention, as far as every framework answers alike: when the tuned track asks for it.

Rows say in ``attention`` what computes it: a fused kernel by its framework's name for it, or
``COMPOSED`` of products and a softmax.
"""

from __future__ import annotations

from bench.contract import Batches, Cell

COMPOSED = "composed"
HALF = ("bf16", "fp16")
"""Precisions that flash attention has kernels for."""


def fused(cell: Cell) -> bool:
    """Whether the tuned track asks for NVIDIA's fused kernel where the framework would not."""
    tuned = cell.track == "tuned" and cell.device == "cuda"
    return tuned and cell.model != "cnn" and cell.precision in HALF


def unpadded(batches: Batches) -> bool:
    """Whether no batch has padding, so that a mask would hide nothing."""
    if batches.samples is not None:
        return bool(batches.samples.columns["mask"].all())
    return all(bool(batch["mask"].all()) for batch in (*batches.train, *batches.infer))
