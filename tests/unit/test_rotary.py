"""The angles that frameworks keep as constants."""

from __future__ import annotations

import math

import numpy as np

from backends.rotary import tables
from bench.dims import DecoderDims

# Heads of width 4: two pairs, which turn by 1 and by 100^(-1/2) = 0.1 radians a place.
DIMS = DecoderDims(2, 1, 8, 2, 1, 1, sequence=600, rope_theta=100.0)


def test_both_halves_of_a_head_turn_alike():
    cos, sin = tables(DIMS, 3)
    assert cos.shape == sin.shape == (3, 4)
    assert cos.dtype == sin.dtype == np.float32
    angles = [2.0, 0.2, 2.0, 0.2]
    np.testing.assert_allclose(cos[2], [math.cos(one) for one in angles], rtol=1e-7)
    np.testing.assert_allclose(sin[2], [math.sin(one) for one in angles], rtol=1e-7)
    assert cos[0].tolist() == [1.0] * 4
    assert sin[0].tolist() == [0.0] * 4


def test_a_far_place_is_as_exact_as_a_near_one():
    dims = DecoderDims(2, 1, 8, 1, 1, 1, sequence=600)
    cos, _ = tables(dims, 600)
    # 10000^(-1/4) = 0.1 in the second of four pairs: 59.9 radians, whose float32 is off by 2e-6.
    assert abs(float(cos[599, 1]) - math.cos(599 * 10000 ** (-1 / 4))) < 4e-8
