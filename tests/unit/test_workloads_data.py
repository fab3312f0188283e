"""Batches, the data's splits and the seeded weights."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from bench import safetensors
from bench.dims import CnnDims
from workloads import batches, catalogue, digits, packing, reviews, synthetic, tensors, weights
from workloads.prepare import trace_path


@pytest.fixture
def data():
    """Five training and three held-out images of one pixel, each with its own value."""
    image = np.arange(8, dtype=np.float32).reshape(8, 1, 1, 1)
    label = np.arange(8)
    return {
        "train.image": image[:5],
        "train.label": label[:5],
        "test.image": image[5:],
        "test.label": label[5:],
    }


def test_batches_are_consecutive_and_start_again_at_the_end(data):
    made = batches.make(data, model="cnn", batch=2, train_batches=3, infer_batches=2)
    assert [batch["label"].tolist() for batch in made.train] == [[0, 1], [2, 3], [4, 0]]
    assert [batch["label"].tolist() for batch in made.infer] == [[5, 6], [7, 5]]
    assert made.train[2]["image"].ravel().tolist() == [4.0, 0.0]
    assert made.train[0]["image"].shape == (2, 1, 1, 1)


def test_a_batch_may_be_larger_than_the_split(data):
    made = batches.make(data, model="cnn", batch=7, train_batches=1, infer_batches=0)
    assert made.train[0]["label"].tolist() == [0, 1, 2, 3, 4, 0, 1]
    assert made.infer == []


def test_held_out_takes_each_sample_once_in_full_batches(data):
    assert [b["label"].tolist() for b in batches.held_out(data, model="cnn", batch=2, limit=9)] == [
        [5, 6]
    ]
    one = batches.held_out(data, model="cnn", batch=1, limit=2)
    assert [b["label"].tolist() for b in one] == [[5], [6]]
    with pytest.raises(ValueError, match="batch 4 is larger"):
        batches.held_out(data, model="cnn", batch=4, limit=9)


def _row(category, text, film):
    return {"category": category, "text": text, "movie_name": film}


def test_reviews_are_split_by_film_and_plots_are_left_out():
    films = [f"film_{n}" for n in range(200)]
    rows = [_row("fresh", f"good {film}", film) for film in films]
    rows += [_row("rotten", f"bad {film}", film) for film in films]
    rows += [_row("plot", f"story of {film}", film) for film in films]
    parts = reviews.split(rows)
    of_film = {side: {text.split()[-1] for text in texts} for side, (texts, _) in parts.items()}
    assert of_film["train"] & of_film["test"] == set()
    assert of_film["train"] | of_film["test"] == set(films)
    assert 20 <= len(of_film["test"]) <= 60  # a fifth of 200, by a hash
    texts = [*parts["train"][0], *parts["test"][0]]
    labels = [*parts["train"][1], *parts["test"][1]]
    assert len(texts) == 400
    assert not any("story" in text for text in texts)
    assert labels == [int(text.startswith("good")) for text in texts]


def test_a_sentence_about_films_of_both_sides_is_kept_on_the_test_side_only():
    films = [f"film_{n}" for n in range(50)]
    rows = [_row("fresh", "An absorbing documentary.", film) for film in films]
    parts = reviews.split([*rows, _row("rotten", "Dull.", "film_0")])
    held_out = sum(reviews.is_held_out(film) for film in films)
    assert 0 < held_out < len(films)
    assert parts["test"][0].count("An absorbing documentary.") == held_out
    assert parts["train"][0].count("An absorbing documentary.") == 0


def test_the_order_of_rows_does_not_move_a_film_to_the_other_side():
    assert [reviews.is_held_out(f"film_{n}") for n in range(10)] == [
        # int(sha256("film_n").hexdigest()[:16], 16) % 5 == 0
        int(hashlib.sha256(f"film_{n}".encode()).hexdigest()[:16], 16) % 5 == 0
        for n in range(10)
    ]


# Two pixels become four: centres at -0.25, 0.25, 0.75 and 1.25 of the old ones, the outer two
# clipped to the edge: 0, 0.25 * 8, 0.75 * 8, 8.
def test_upscaling_is_bilinear_with_aligned_centres():
    ramp = np.array([[[0.0, 8.0], [0.0, 8.0]]])
    assert digits.upscale(ramp, 4)[0].tolist() == [[0.0, 2.0, 6.0, 8.0]] * 4
    assert digits.upscale(ramp.swapaxes(1, 2), 4)[0, :, 0].tolist() == [0.0, 2.0, 6.0, 8.0]
    assert digits.upscale(ramp, 2).tolist() == ramp.tolist()


def test_digits_hold_out_the_same_number_of_each_class():
    label = np.arange(1000) % 10
    mask = digits.held_out(label)
    assert np.bincount(label[mask]).tolist() == [32] * 10
    assert np.array_equal(mask, digits.held_out(label))


def test_made_up_sentences_follow_their_rule():
    dims = catalogue.size("transformer", "transformer", "tiny").dims
    made = synthetic.tensors(dims)
    for split, count in (("train", 2048), ("test", 512)):
        ids, mask, label = (made[f"{split}.{key}"] for key in ("ids", "mask", "label"))
        assert (ids.shape, ids.dtype, mask.dtype) == ((count, 32), np.int64, np.int64)
        assert (ids[:, 0] == synthetic.CLS).all()
        assert np.array_equal(mask == 1, ids != synthetic.PAD)
        assert len(set(mask.sum(axis=1).tolist())) > 10  # lengths vary, so masking counts
        own = [((ids >= 10 + 40 * k) & (ids < 50 + 40 * k)).sum(axis=1) for k in (0, 1)]
        assert (np.where(label == 0, own[0], own[1]) >= 2).all()
        assert (np.where(label == 0, own[1], own[0]) == 0).all()
        assert 0.45 < label.mean() < 0.55


@pytest.mark.parametrize("model", ["cnn", "transformer", "decoder"])
def test_seeded_weights_are_the_traces_bit_for_bit(model, tmp_path):
    dims = catalogue.of_model(model, "tiny").dims
    tensors.save(tmp_path / "w", weights.seeded(dims, name=f"{model}-tiny"))
    trace = json.loads(trace_path(model, "tiny").read_text(encoding="utf-8"))
    assert hashlib.sha256((tmp_path / "w").read_bytes()).hexdigest() == trace["weights_sha256"]


def test_made_up_sentences_are_the_traces_bit_for_bit(tmp_path):
    dims = catalogue.size("transformer", "transformer", "tiny").dims
    tensors.save(tmp_path / "d", synthetic.tensors(dims))
    trace = json.loads(trace_path("transformer", "tiny").read_text(encoding="utf-8"))
    assert hashlib.sha256((tmp_path / "d").read_bytes()).hexdigest() == trace["data_sha256"]


def test_a_stream_is_cut_into_tokens_and_the_next_ones():
    ids, label = packing.cut(np.arange(9), sequence=3)  # the last token is only a label's
    assert ids.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert label.tolist() == [[1, 2, 3], [4, 5, 6]]
    ids, label = packing.cut(np.arange(10), sequence=3)
    assert (ids[-1].tolist(), label[-1].tolist()) == ([6, 7, 8], [7, 8, 9])


def test_half_of_the_made_up_text_follows_from_the_word_before(tmp_path):
    dims = catalogue.of_model("decoder", "tiny").dims
    made = synthetic.text(dims)
    ids, label = made["train.ids"], made["train.label"]
    assert ids.shape == label.shape == (2048, 32)
    assert np.array_equal(ids[0, 1:], label[0, :-1])
    assert label[0, -1] == ids[1, 0]
    # The most frequent word after each: about half of what comes, and as many as there are words.
    count = np.zeros((dims.vocab, dims.vocab), dtype=np.int64)
    np.add.at(count, (ids.ravel(), label.ravel()), 1)
    assert 0.45 < count.max(axis=1).sum() / ids.size < 0.55
    assert len(set(count.argmax(axis=1).tolist())) == dims.vocab
    # The held-out text follows the same rule.
    guessed = count.argmax(axis=1)[made["test.ids"]]
    assert 0.45 < (guessed == made["test.label"]).mean() < 0.55
    tensors.save(tmp_path / "d", made)
    trace = json.loads(trace_path("decoder", "tiny").read_text(encoding="utf-8"))
    assert hashlib.sha256((tmp_path / "d").read_bytes()).hexdigest() == trace["data_sha256"]


def _trainable(shapes):
    return sum(int(np.prod(s)) for name, s in shapes.items() if ".running_" not in name)


# 11,173,962: the ResNet-18 with a 3 x 3 stem and ten classes that is usual on CIFAR-10.
# 22,713,986: MiniLM-L6-H384's published 22,713,216 and a classifier of 384 * 2 + 2.
# 125,248: embeddings 512*64; twice 2*64*64 + 2*64*32 + 3*64*176 + 2*64; the last norm 64.
# 15,420,160: 30522*256; eight times 2*256*256 + 2*256*64 + 3*256*1024 + 2*256; 256.
# 343,936,320: 30522*960; 32 times 2*960*960 + 2*960*320 + 3*960*2560 + 2*960; 960.
# 1,119,574,016: 30522*2048; 24 times 2*2048*2048 + 2*2048*256 + 3*2048*5632 + 2*2048; 2048.
# 25,557,032 and 60,192,808: torchvision's resnet50 and resnet152.
def test_shapes_have_the_published_numbers_of_parameters():
    assert _trainable(weights.shapes(catalogue.size("cnn", "cnn", "small").dims)) == 11_173_962
    encoder = catalogue.size("transformer", "transformer", "small").dims
    assert _trainable(weights.shapes(encoder)) == 22_713_986
    assert _trainable(weights.shapes(catalogue.of_model("decoder", "tiny").dims)) == 125_248
    assert _trainable(weights.shapes(catalogue.of_model("decoder", "small").dims)) == 15_420_160
    assert _trainable(weights.shapes(catalogue.of_model("decoder", "base").dims)) == 343_936_320
    assert _trainable(weights.shapes(catalogue.of_model("decoder", "large").dims)) == 1_119_574_016
    resnet50 = CnnDims(224, 3, 1000, "7x7", (64, 128, 256, 512), (3, 4, 6, 3), bottleneck=True)
    assert _trainable(weights.shapes(resnet50)) == 25_557_032
    resnet152 = catalogue.size("cnn", "cnn", "large").dims
    assert _trainable(weights.shapes(resnet152)) == 60_192_808


def test_initialisation_has_the_stated_scale():
    made = weights.seeded(catalogue.size("cnn", "cnn", "tiny").dims, name="cnn-tiny")
    conv = made["layer3.0.conv2.weight"]  # 64 inputs of 3 x 3: He-uniform, sqrt(6 / 576) = 0.1021
    assert 0.1015 < np.abs(conv).max() <= 0.1021
    assert np.abs(made["fc.weight"]).max() <= 1 / 8  # 1 / sqrt(64)
    assert (made["bn1.weight"] == 1).all()
    assert (made["bn1.running_mean"] == 0).all()
    assert (made["layer2.0.downsample.1.running_var"] == 1).all()
    assert {array.dtype.name for array in made.values()} == {"float32"}


def test_a_decoders_matrices_have_unit_gain_and_its_norms_are_ones():
    made = weights.seeded(catalogue.of_model("decoder", "tiny").dims, name="decoder-tiny")
    norms = {key for key in made if key.endswith("norm.weight")}
    assert len(norms) == 5
    assert all((made[key] == 1).all() for key in norms)
    for key in made.keys() - norms:  # a uniform number's variance is a third of its bound's square
        assert made[key].var() * made[key].shape[1] == pytest.approx(1, abs=0.05), key


def test_each_block_of_a_deep_network_starts_damped():
    """50 blocks that add a fiftieth of the variance each, the shortcuts and the stem untouched."""
    made = weights.seeded(catalogue.size("cnn", "cnn", "large").dims, name="cnn-large")
    ends = {
        key for key, value in made.items() if ".weight" in key and (value == value.flat[0]).all()
    }
    damped = {key for key in ends if made[key].flat[0] != 1}
    assert damped == {key for key in made if key.endswith(".bn3.weight")}
    assert sum(float(made[key].flat[0]) ** 2 for key in damped) == pytest.approx(1)


def test_saved_tensors_are_read_back_and_aligned(tmp_path):
    given = {
        "b": np.arange(3, dtype=np.float32),
        "a": np.arange(4, dtype=np.int64).reshape(2, 2),
        "none": np.zeros((0, 5), dtype=np.float32),
        "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    }
    tensors.save(tmp_path / "t", given)
    found = safetensors.read(tmp_path / "t")
    assert set(found) == set(given)
    for name, array in given.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
    assert int.from_bytes((tmp_path / "t").read_bytes()[:8], "little") % 8 == 0


def test_saved_tensors_are_what_the_formats_own_library_reads(tmp_path):
    from safetensors.numpy import load_file

    given = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "y": np.arange(2)}
    tensors.save(tmp_path / "t", given)
    found = load_file(tmp_path / "t")
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in given.items()
    }
