"""Rotary positions as constants, for frameworks that keep them in their graphs.

As Hugging Face's Llama has them: the pairs that turn together lie half a head apart.
"""

from __future__ import annotations

import numpy as np

from bench.dims import DecoderDims


def tables(dims: DecoderDims, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of place / theta^(2i/d), float32 [length, width of a head]: the angles of
    half a head, twice. They are made in float64: float32's are off by 3e-5 at the 512th place.
    """
    half = dims.head_width // 2
    angles = np.outer(np.arange(length), dims.rope_theta ** (-np.arange(half) / half))
    both = np.tile(angles, 2)
    return np.cos(both).astype(np.float32), np.sin(both).astype(np.float32)
