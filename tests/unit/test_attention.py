"""When the tuned track asks for a fused kernel, and when there is no mask to keep."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from backends.attention import fused, unpadded
from bench.contract import Batches


def cell(**changes):
    tuned = {"track": "tuned", "device": "cuda", "model": "transformer", "precision": "bf16"}
    return SimpleNamespace(**{**tuned, **changes})


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (cell(), True),
        (cell(precision="fp16"), True),
        (cell(model="decoder"), True),
        (cell(precision="fp32"), False),  # flash attention has kernels for half precision only
        (cell(precision="tf32"), False),
        (cell(track="out-of-box"), False),
        (cell(device="cpu"), False),
        (cell(device="tpu"), False),
        (cell(model="cnn"), False),
    ],
)
def test_a_fused_kernel_is_asked_for_where_there_is_one(asked, expected):
    assert fused(asked) is expected


def batch(*lengths):
    return {"mask": (np.arange(4) < np.array(lengths)[:, None]).astype(np.int64)}


@pytest.mark.parametrize(
    ("train", "infer", "expected"),
    [
        ([batch(4, 4)], [batch(4)], True),
        ([batch(4, 4), batch(4, 3)], [batch(4)], False),
        ([batch(4, 4)], [batch(2)], False),  # the same model infers it
    ],
)
def test_one_padded_sample_is_padding(train, infer, expected):
    assert unpadded(Batches(train, infer)) is expected
