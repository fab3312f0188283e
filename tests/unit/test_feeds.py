"""What a user's model is fed with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.worker import feeds
from bench.worker.feeds import FeedError, Input

IMAGE = Input("image", "float32", ("N", 3, 4, 4))
IDS = Input("ids", "int64", ("N", "sequence"))
MASK = Input("mask", "bool", ("N", "sequence"))
TEMPERATURE = Input("temperature", "float32", ())


def test_open_dimensions_are_the_batch_and_what_was_given() -> None:
    assert feeds.shape(IMAGE, batch=8, sizes={}) == (8, 3, 4, 4)
    assert feeds.shape(IDS, batch=2, sizes={"sequence": 16}) == (2, 16)
    assert feeds.shape(TEMPERATURE, batch=8, sizes={}) == ()


@pytest.mark.parametrize(
    ("inputs", "sizes", "said"),
    [
        ([IDS], {}, "'ids' leaves its dimension 'sequence' open: give it, such as --dim sequence="),
        ([IMAGE], {"width": 3}, "--dim width: the model leaves N open"),
        ([Input("text", "object", ("N",))], {}, "'text' is of object: give samples with --data"),
    ],
)
def test_what_cannot_be_made_names_the_mend(
    inputs: list[Input], sizes: dict[str, int], said: str
) -> None:
    with pytest.raises(FeedError, match=said):
        feeds.check(inputs, batch=1, sizes=sizes)


def test_a_file_without_an_open_first_dimension_has_one_batch() -> None:
    assert feeds.fixed_batch([Input("x", "float32", (4, 2))]) == 4
    assert feeds.fixed_batch([IMAGE]) is None
    assert feeds.fixed_batch([TEMPERATURE]) is None
    assert feeds.fixed_batch([Input("table", "float32", (9, 2)), IMAGE]) is None


def test_made_samples_are_valid_wherever_they_may_land() -> None:
    found = feeds.made([IMAGE, IDS, MASK], batch=2, sizes={"sequence": 5})
    assert len(found) == feeds.DISTINCT
    for feed in found:
        assert feed["image"].shape == (2, 3, 4, 4)
        assert feed["image"].dtype == np.float32
        assert set(np.unique(feed["ids"])) <= {0, 1}
        assert feed["mask"].dtype == np.bool_
    assert not np.array_equal(found[0]["image"], found[1]["image"])
    again = feeds.made([IMAGE, IDS, MASK], batch=2, sizes={"sequence": 5})
    assert np.array_equal(found[3]["image"], again[3]["image"]), "one seed, one file"


def saved(folder: Path, **arrays: np.ndarray) -> Path:
    path = folder / "samples.npz"
    np.savez(path, **arrays)
    return path


def test_taken_samples_come_in_turn_and_from_the_start_again(tmp_path: Path) -> None:
    ids = np.arange(10, dtype=np.int64).reshape(5, 2)
    path = saved(tmp_path, ids=ids, temperature=np.float32(0.5), more=np.zeros(1))
    found = feeds.taken(path, [IDS, TEMPERATURE], batch=2)
    assert [list(feed["ids"][:, 0]) for feed in found] == [[0, 2], [4, 6], [8, 0]]
    assert [float(feed["temperature"]) for feed in found] == [0.5] * 3
    [whole] = feeds.taken(path, [IDS, TEMPERATURE], batch=7)
    assert list(whole["ids"][:, 0]) == [0, 2, 4, 6, 8, 0, 2]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"other": np.zeros(1)}, "has no array 'ids': it has other"),
        ({"ids": np.zeros((5, 2), np.int32)}, "'ids' is int32"),
        ({"ids": np.zeros(5, np.int64)}, r"is int64 \[5\], the model takes int64"),
        ({"ids": np.zeros((0, 2), np.int64)}, r"inputs have \[0\] samples"),
    ],
)
def test_samples_that_do_not_fit(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(FeedError, match=said):
        feeds.taken(saved(tmp_path, **arrays), [IDS], batch=1)


def test_fixed_sizes_and_counts_have_to_agree(tmp_path: Path) -> None:
    path = saved(tmp_path, image=np.zeros((2, 3, 4, 5), np.float32))
    with pytest.raises(FeedError, match="the model takes float32"):
        feeds.taken(path, [IMAGE], batch=1)
    path = saved(tmp_path, ids=np.zeros((2, 3), np.int64), mask=np.zeros((3, 3), np.bool_))
    with pytest.raises(FeedError, match=r"\[2, 3\] samples; they need as many each"):
        feeds.taken(path, [IDS, MASK], batch=1)


def test_what_is_no_file_of_arrays_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "samples.npz").write_text("no arrays")
    with pytest.raises(FeedError, match="is no NPZ file of arrays"):
        feeds.taken(tmp_path / "samples.npz", [IDS], batch=1)
