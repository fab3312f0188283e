"""Made-up text with a rule that can be learned, for sizes that fetch nothing; and noise of those
that only compute.

An encoder's sentence is [CLS], words, [SEP] and padding. Its class shows only in its words: at
least two of them, and about a quarter, come from the class's own words, none from the other
class's. In a decoder's text about half of the words follow from the one before, and the others from
nothing.
"""

from __future__ import annotations

import numpy as np

from bench.dims import CnnDims, DecoderDims, Dims, EncoderDims
from workloads.packing import cut

PAD, CLS, SEP, FIRST_WORD = 0, 1, 2, 10
WORDS_PER_CLASS = 40
SHORTEST = 6  # words in a sentence
OWN_PART = 0.25
FOLLOWING_PART = 0.5
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


def text(dims: DecoderDims) -> dict[str, np.ndarray]:
    """train.* and test.* of ids and label int64 [N, sequence]; each word has its follower."""
    rng = np.random.RandomState(0)
    after = rng.permutation(dims.vocab)
    result = {}
    for split, count in COUNTS.items():
        words = rng.randint(dims.vocab, size=count * dims.sequence + 1).astype(np.int64)
        follows = rng.random_sample(len(words)) < FOLLOWING_PART
        for place in np.flatnonzero(follows[1:]) + 1:
            words[place] = after[words[place - 1]]
        result[f"{split}.ids"], result[f"{split}.label"] = cut(words, sequence=dims.sequence)
    return result


def noise(dims: Dims) -> dict[str, np.ndarray]:
    """train.* and test.* without any rule. Images float32 [N, C, H, W] of standard normal pixels;
    ids int64 [N, sequence] of any words, without padding, and the encoder's mask of ones.
    """
    rng = np.random.RandomState(0)
    result: dict[str, np.ndarray] = {}
    for split, count in NOISE.items():
        if isinstance(dims, DecoderDims):
            words = rng.randint(dims.vocab, size=count * dims.sequence + 1).astype(np.int64)
            result[f"{split}.ids"], result[f"{split}.label"] = cut(words, sequence=dims.sequence)
            continue
        if isinstance(dims, CnnDims):
            image = (count, dims.channels, dims.image, dims.image)
            result[f"{split}.image"] = rng.standard_normal(image).astype(np.float32)
        else:
            text = (count, dims.sequence)
            ids = rng.randint(FIRST_WORD, dims.vocab, size=text).astype(np.int64)
            result[f"{split}.ids"], result[f"{split}.mask"] = ids, np.ones_like(ids)
        result[f"{split}.label"] = rng.randint(dims.classes, size=count).astype(np.int64)
    return result
