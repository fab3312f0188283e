"""Labelled sentences in a CSV or Parquet file, as token ids for an encoder."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.dims import EncoderDims
from bench.errors import UsageError
from bench.text import plain
from workloads import Own
from workloads.own import rows
from workloads.own.rows import LeftOut, Sample
from workloads.weights import Arrays

CHUNK = 8192
"""Texts that are tokenised at a time: what the tokenizer keeps of each is large."""
PADS = ("[PAD]", "<pad>")
ESCAPED = range(0xDC80, 0xDD00)
"""What Python makes of bytes that are not UTF-8 (PEP 383)."""

Given = tuple[str, Any, Any]
"""A row's name, its text and its label; in place of the text a ``Bad``."""


class Bad(str):
    """Why a row cannot be used."""

    __slots__ = ()


def tensors(own: Own, dims: EncoderDims) -> tuple[Arrays, LeftOut]:
    """train.* and test.* of ids, mask int64 [N, sequence] and label int64 [N]; and what was
    left out.
    """
    path = Path(own.paths["text"])
    left_out = LeftOut(path.name)
    read = _csv if own.options["format"] == ".csv" else _parquet
    columns = (own.options["text_column"], own.options["label_column"])
    samples = list(_samples(read(path, columns), own, left_out))
    rows.usable(samples, left_out)
    ids, mask = tokens(Path(own.paths["tokenizer"]), [one.content for one in samples], dims)
    if not (some := mask.any(axis=1)).all():
        for at in np.flatnonzero(~some):
            left_out.add(samples[at].name, "no token in it")
        samples, ids, mask = [samples[at] for at in np.flatnonzero(some)], ids[some], mask[some]
        rows.usable(samples, left_out)
    label = rows.classes(path.name, [one.label for one in samples], own, limit=dims.classes)
    arrays = {"ids": ids, "mask": mask, "label": label}
    return rows.split(samples, arrays, own), left_out


def _samples(given: Iterator[Given], own: Own, left_out: LeftOut) -> Iterator[Sample]:
    for name, text, value in given:
        left_out.total += 1
        label = rows.label_of(value)
        if isinstance(text, Bad):
            left_out.add(name, text)
        elif not isinstance(text, str) or not text.strip():
            left_out.add(name, "no text")
        elif why := rows.bad_label(label, own.options["classes"]):
            left_out.add(name, why)
        else:
            yield Sample(name, label, hashlib.sha256(text.encode()).digest(), text)


def _csv(path: Path, columns: tuple[str, str]) -> Iterator[Given]:
    """Rows by their first line; a line without anything is none. The first names the columns."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise UsageError(f"{path.name}, line 1: {error}: is it a CSV file?") from error
        text, label = _places(path, header, columns)
        while True:
            line = reader.line_num + 1
            try:
                found = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                last = f" to {reader.line_num}" if reader.line_num > line else ""
                yield f"line {line}{last}", Bad(str(error)), None
                continue
            if not found:
                continue
            if len(found) != len(header):
                why = Bad(f"{len(found)} fields, not {len(header)}")
                yield f"line {line}", why, None
            elif any(ord(c) in ESCAPED for c in found[text] + found[label]):
                yield f"line {line}", Bad("bytes that are not UTF-8"), None
            else:
                yield f"line {line}", found[text], found[label]


def _places(path: Path, header: Sequence[str], columns: Sequence[str]) -> list[int]:
    for name in columns:
        if header.count(name) != 1:
            there = plain(", ".join(header)) or "none"
            raise UsageError(
                f"{path.name} has {header.count(name)} columns {name!r}, not one: it has {there} "
                "(text_column, label_column)"
            )
    return [header.index(name) for name in columns]


def _parquet(path: Path, columns: tuple[str, str]) -> Iterator[Given]:
    import pyarrow as pa  # noqa: PLC0415  it takes 100 MB, and only who has such a file needs it
    from pyarrow import parquet  # noqa: PLC0415  as above

    try:
        file = parquet.ParquetFile(path)
        _places(path, file.schema_arrow.names, columns)
        row = 0
        for batch in file.iter_batches(columns=[*dict.fromkeys(columns)]):
            for text, label in zip(*(batch.column(name) for name in columns), strict=True):
                row += 1
                yield f"row {row}", _value(text), _value(label)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path.name} cannot be read as Parquet: {error}") from error


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return Bad("bytes that are not UTF-8")


def tokens(path: Path, texts: Sequence[str], dims: EncoderDims) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask, int64 [N, sequence], cut and padded on the right.

    UsageError where there are more tokens than the model knows.
    """
    # Not at the top: once the data is cached it is not needed.
    from tokenizers import Tokenizer  # noqa: PLC0415

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # it raises nothing more exact
        raise UsageError(f"{path.name} is not a tokenizer.json: {error}") from error
    given = tokenizer.padding or {}
    known = [found for pad in PADS if (found := tokenizer.token_to_id(pad)) is not None]
    tokenizer.enable_padding(length=dims.sequence, pad_id=given.get("pad_id", [*known, 0][0]))
    tokenizer.enable_truncation(max_length=dims.sequence)
    ids = np.empty((len(texts), dims.sequence), dtype=np.int64)
    mask = np.empty_like(ids)
    for start in range(0, len(texts), CHUNK):
        coded = tokenizer.encode_batch(list(texts[start : start + CHUNK]))
        ids[start : start + CHUNK] = [item.ids for item in coded]
        mask[start : start + CHUNK] = [item.attention_mask for item in coded]
    if (most := int(ids.max())) >= dims.vocab:
        need = max(most + 1, tokenizer.get_vocab_size())
        raise UsageError(
            f"{path.name} makes tokens up to {most}, but [dims] vocab is {dims.vocab}: it must be "
            f"at least {need}"
        )
    return ids, mask
