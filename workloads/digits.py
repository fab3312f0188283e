"""The handwritten digits that scikit-learn ships, as images for the CNN.

Source: ``sklearn/datasets/data/digits.csv.gz``, 1,797 lines of 64 pixels (8 x 8, 0 to 16) and
a label; from the UCI "Optical Recognition of Handwritten Digits" test set (CC BY 4.0).
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

SOURCE = Path("sklearn/datasets/data/digits.csv.gz")
SIDE = 8
CLASSES = 10
TEST_PER_CLASS = 32
"""Held out: 320 of 1,797, as many of each digit, and full batches of any power of two to 64."""


def tensors(packages: Path, *, image: int, channels: int) -> dict[str, np.ndarray]:
    """train.* and test.* of ``image`` float32 [N, channels, image, image] and ``label`` [N]."""
    with gzip.open(packages / SOURCE, "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.int64)
    pixels, label = table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1]
    test = held_out(label)
    # 0 to 16 becomes -1 to 1, exactly.
    grey = (upscale(pixels.astype(np.float64), image) / 8 - 1).astype(np.float32)
    images = np.repeat(grey[:, None], channels, axis=1)
    result = {}
    for split, rows in (("train", ~test), ("test", test)):
        order = np.random.RandomState(0).permutation(np.flatnonzero(rows))
        result[f"{split}.image"] = images[order]
        result[f"{split}.label"] = label[order]
    return result


def held_out(label: np.ndarray) -> np.ndarray:
    """A mask of the test samples: the same number of each class, drawn with a fixed seed."""
    rng = np.random.RandomState(0)
    mask = np.zeros(len(label), dtype=bool)
    for digit in range(CLASSES):
        mask[rng.permutation(np.flatnonzero(label == digit))[:TEST_PER_CLASS]] = True
    return mask


def upscale(pixels: np.ndarray, side: int) -> np.ndarray:
    """Bilinear, pixel centres aligned, edges repeated: [N, s, s] -> [N, side, side].

    Without matrix products, whose order of summation differs between machines.
    """
    small = pixels.shape[-1]
    where = np.clip((np.arange(side) + 0.5) * small / side - 0.5, 0, small - 1)
    low = np.minimum(where.astype(np.int64), small - 2)
    part = where - low
    rows = pixels[:, low] * (1 - part)[:, None] + pixels[:, low + 1] * part[:, None]
    result: np.ndarray = rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part
    return result
