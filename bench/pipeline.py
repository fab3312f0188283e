"""Training fed by the framework's own input pipeline: the setting ``input=pipeline``.

Worker half. Without it batches are cut beforehand and lie on the device, so that nothing but
computing is timed. With it the framework draws the samples one by one, makes batches of them and
sends them to the device while it trains, so that a slow loader is seen. Decoding and tokenising are
part of neither: they were done when the data was prepared, by the same code for every framework.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

INPUT, PIPELINE = "input", "pipeline"


class Samples:
    """The training split. columns: name -> array [N, ...], memory-mapped; in a batch's order."""

    def __init__(self, columns: Mapping[str, np.ndarray]) -> None:
        self.columns = dict(columns)

    def __len__(self) -> int:
        return len(self.columns["label"])

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        """One sample: the model's inputs in their order, and the label last."""
        return tuple(column[index] for column in self.columns.values())
