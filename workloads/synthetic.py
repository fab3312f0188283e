"""Made-up sentences with a rule that an encoder can learn, for sizes that fetch nothing; and noise
of the sizes that only compute.

A sentence is [CLS], words, [SEP] and padding. Its class shows only in its words: at least two
of them, and about a quarter, come from the class's own words, none from the other class's.
"""

from __future__ import annotations

import numpy as np

from bench.dims import CnnDims, Dims, EncoderDims

PAD, CLS, SEP, FIRST_WORD = 0, 1, 2, 10
WORDS_PER_CLASS = 40
SHORTEST = 6  # words in a sentence
OWN_PART = 0.25
COUNTS = {"train": 2048, "test": 512}
NOISE = {"train": 64, "test": 64}
"""Samples of noise: batches of more repeat them, which costs nothing that is measured."""


def tensors(dims: EncoderDims) -> dict[str, np.ndarray]:
    """train.* and test.* of ids, mask int64 [N, sequence] and label int64 [N]."""
    rng = np.random.RandomState(0)  # its stream is frozen, unlike that of Generator
    result = {}
    for split, count in COUNTS.items():
        label = rng.randint(dims.classes, size=count).astype(np.int64)
        rows = [_sentence(dims, int(kind), rng) for kind in label]
        ids = np.stack(rows)
        result[f"{split}.ids"] = ids
        result[f"{split}.mask"] = (ids != PAD).astype(np.int64)
        result[f"{split}.label"] = label
    return result


def _sentence(dims: EncoderDims, label: int, rng: np.random.RandomState) -> np.ndarray:
    """Token ids int64 [sequence]."""
    count = rng.randint(SHORTEST, dims.sequence - 1)  # leaves room for [CLS] and [SEP]
    neutral = FIRST_WORD + dims.classes * WORDS_PER_CLASS
    words = rng.randint(neutral, dims.vocab, size=count)
    own = rng.random_sample(count) < OWN_PART
    own[rng.permutation(count)[:2]] = True
    first = FIRST_WORD + label * WORDS_PER_CLASS
    words[own] = rng.randint(first, first + WORDS_PER_CLASS, size=int(own.sum()))
    ids = np.full(dims.sequence, PAD, dtype=np.int64)
    ids[: count + 2] = [CLS, *words, SEP]
    return ids


def noise(dims: Dims) -> dict[str, np.ndarray]:
    """train.* and test.* without any rule. Images float32 [N, C, H, W] of standard normal pixels;
    ids int64 [N, sequence] of any words, without padding, and the mask of ones.
    """
    rng = np.random.RandomState(0)
    result: dict[str, np.ndarray] = {}
    for split, count in NOISE.items():
        if isinstance(dims, CnnDims):
            image = (count, dims.channels, dims.image, dims.image)
            result[f"{split}.image"] = rng.standard_normal(image).astype(np.float32)
        else:
            text = (count, dims.sequence)
            ids = rng.randint(FIRST_WORD, dims.vocab, size=text).astype(np.int64)
            result[f"{split}.ids"], result[f"{split}.mask"] = ids, np.ones_like(ids)
        result[f"{split}.label"] = rng.randint(dims.classes, size=count).astype(np.int64)
    return result
