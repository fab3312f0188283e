"""A stream of tokens cut into the decoder's samples."""

from __future__ import annotations

import numpy as np


def cut(stream: np.ndarray, *, sequence: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and label int64 [N, sequence]: of each token the next one is its label.

    Samples follow one another without a gap, and a label may be the next sample's first token. What
    does not fill a sample at the end is left out.
    """
    count = (len(stream) - 1) // sequence
    used = count * sequence
    return stream[:used].reshape(count, sequence), stream[1 : used + 1].reshape(count, sequence)
