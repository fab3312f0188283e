"""Data of the user's own: what is read, what is left out and named, and what is refused."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from bench import pilot_file, safetensors
from bench.contract import CnnDims, DecoderDims, EncoderDims
from bench.errors import UsageError
from bench.run import preparing
from workloads import Own, SizeSpec, catalogue, materials, prepare
from workloads.own import files, images, texts, tokens
from workloads.own.rows import LeftOut
from workloads.own.tables import OwnSize, TokensTable

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", *(f"w{n}" for n in range(20))]
ENCODER = EncoderDims(len(WORDS), 16, 2, 1, 8, 2, 16, 2, 8)
CNN = CnnDims(4, 1, 2, "3x3", (4,), (1,))
SPLIT = {"classes": None, "held_out": 0.4}


def sentences(count=300):
    """Text and label, no two texts alike."""
    return [
        (f"{'good' if n % 2 else 'bad'} w{n % 20} w{n // 20 % 20} w{n // 7 % 20} {n}", f"c{n % 2}")
        for n in range(count)
    ]


def as_csv(rows, header=("text", "label")):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, *rows])
    return out.getvalue()


@pytest.fixture
def tokenizer(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    made = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


@pytest.fixture
def read(tmp_path, tokenizer):
    """Text in a file -> its tensors and what was left out."""

    def reading(content, name="t.csv", dims=ENCODER, **options):
        raw = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(raw)
        columns = {"text_column": "text", "label_column": "label"}
        kind = {"format": f".{name.rpartition('.')[2]}", **columns, **SPLIT, **options}
        paths = {"text": str(tmp_path / name), "tokenizer": str(tokenizer)}
        return texts.tensors(files.source("text", paths, kind), dims)

    return reading


def test_a_csv_becomes_tokens_and_classes_in_sorted_order(read):
    made, left_out = read(as_csv([*sentences(), ("good w3", "c1")]))
    assert left_out.line == ""
    total = sum(len(made[f"{side}.label"]) for side in ("train", "test"))
    assert total == 301
    assert {array.dtype.name for array in made.values()} == {"int64"}
    for side in ("train", "test"):
        ids, mask, label = (made[f"{side}.{key}"] for key in ("ids", "mask", "label"))
        assert np.array_equal(mask, (ids != 0).astype(int))
        assert (ids[:, 0] == 2).all()
        assert np.array_equal(ids[:, 1], 5 - label)  # good is 4 and of class 1, bad is 5
    every = np.concatenate([made["train.ids"], made["test.ids"]])
    assert [2, 4, WORDS.index("w3"), 3, 0, 0, 0, 0] in every.tolist()


def test_the_split_is_by_the_text_alone(read):
    rows = sentences()
    first, _ = read(as_csv(rows))
    again, _ = read(as_csv([*reversed(rows), *rows[:50]]))  # copies are with their originals

    def sides(made, side):
        return {tuple(ids) for ids in made[f"{side}.ids"].tolist()}

    assert sides(first, "test") == sides(again, "test")
    held_out = [
        int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) / 2**64 < 0.4 for text, _ in rows
    ]
    assert len(first["test.label"]) == sum(held_out)


def test_bad_rows_are_named_by_line_counted_and_left_out(read):
    good = as_csv(sentences()).encode()
    bad = b'"two\nlines",c1\n ,c1\nno label,\none\na,b,c\ncaf\xe9,c0\n"x"y,c0\n'
    made, left_out = read(good + bad)
    assert left_out.total == 307
    assert [name for name, _ in left_out.rows] == [
        "line 304",
        "line 305",
        "line 306",
        "line 307",
        "line 308",
        "line 309",
    ]
    assert left_out.line == (
        "6 of 307 left out: line 304 (no text), line 305 (no label), line 306 (1 fields, not 2), "
        "line 307 (3 fields, not 2), line 308 (bytes that are not UTF-8) and 1 more"
    )
    assert "',' expected after" in left_out.rows[-1][1]
    assert len(made["train.label"]) + len(made["test.label"]) == 301


def test_a_quote_that_is_never_closed_names_all_lines_that_it_takes(read):
    _, left_out = read(as_csv(sentences()) + '"open,c0\nx,c1\ny,c1\n')
    assert left_out.rows == [("line 302 to 304", "unexpected end of data")]


def test_a_byte_order_mark_blank_lines_and_other_columns_do_no_harm(read):
    rows = [(n, label, text, "") for n, (text, label) in enumerate(sentences())]
    content = "\ufeff" + as_csv(rows, ("text id", "label", "text", "note")) + "\n\n"
    made, left_out = read(content)
    assert (left_out.rows, left_out.total) == ([], 300)
    assert len(made["test.label"]) > 64


def test_numbers_are_sorted_as_numbers_and_negative_ones_mean_no_class(read):
    rows = [(text, str(n % 3 * 5)) for n, (text, _) in enumerate(sentences())]  # 0, 5, 10
    made, left_out = read(
        as_csv([*rows, ("good", "-1")]), dims=dataclasses.replace(ENCODER, classes=3)
    )
    assert left_out.rows == [("line 302", "label -1 is out of range")]
    assert set(made["train.label"].tolist()) == {0, 1, 2}
    by_text = dict(zip(map(tuple, made["train.ids"].tolist()), made["train.label"], strict=True))
    (bad_w4,) = {y for ids, y in by_text.items() if ids[1:4] == (5, 10, 6)}  # sentence 4: label 5
    assert bad_w4 == 1


def test_classes_that_are_named_have_that_order_and_no_other_counts(read):
    made, left_out = read(as_csv([*sentences(), ("good", "c7")]), classes=["c1", "c0"])
    assert left_out.rows == [("line 302", "label 'c7' is none of classes")]
    assert np.array_equal(made["train.ids"][:, 1], 4 + made["train.label"])


def test_parquet_says_the_same_as_csv_and_names_rows(read, tmp_path):
    import pandas as pd

    rows = [*sentences(), (None, "c0"), ("good", None)]
    pd.DataFrame(rows, columns=["text", "label"]).to_parquet(tmp_path / "made.parquet")
    made, left_out = read((tmp_path / "made.parquet").read_bytes(), name="t.parquet")
    assert left_out.rows == [("row 301", "no text"), ("row 302", "no label")]
    expected, _ = read(as_csv(sentences()))
    assert all(np.array_equal(made[key], expected[key]) for key in expected)


def test_a_parquet_column_of_numbers_with_gaps_is_of_whole_numbers(read, tmp_path):
    import pandas as pd

    rows = [*((text, n % 2) for n, (text, _) in enumerate(sentences())), ("good", None)]
    table = pd.DataFrame(rows, columns=["text", "label"])
    assert table["label"].dtype == float
    table.to_parquet(tmp_path / "made.parquet")
    made, left_out = read((tmp_path / "made.parquet").read_bytes(), name="t.parquet")
    assert left_out.rows == [("row 301", "no label")]
    assert set(made["test.label"].tolist()) == {0, 1}


def test_a_text_in_which_the_tokenizer_finds_nothing_is_left_out(read, tokenizer):
    given = json.loads(tokenizer.read_text())
    tokenizer.write_text(json.dumps({**given, "post_processor": None, "normalizer": DIGITS}))
    _, left_out = read(as_csv([*sentences(), ("77", "c1")]))
    assert left_out.rows == [("line 302", "no token in it")]


DIGITS = {"type": "Replace", "pattern": {"Regex": "^7+$"}, "content": ""}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "t.csv has 0 columns 'text', not one: it has none"),
        ("body,label\n", "t.csv has 0 columns 'text', not one: it has body, label (text_column"),
        ("text,label,text\n", "t.csv has 2 columns 'text', not one"),
        ("text,label\n", "t.csv: it is empty"),
        ("text,label\n,c0\nx,\n", "nothing in it can be used: 2 of 2 left out: line 2 (no text)"),
        (as_csv(sentences(100)), "of 100 usable samples "),
        (as_csv([(text, "same") for text, _ in sentences()]), "all rows of t.csv are of one class"),
        (
            as_csv([(text, f"c{n % 3}") for n, (text, _) in enumerate(sentences())]),
            "t.csv has 3 classes (c0, c1, c2), but [dims] classes is 2: raise that",
        ),
    ],
)
def test_what_cannot_be_used_at_all_is_refused_in_a_line(read, content, said):
    with pytest.raises(UsageError) as caught:
        read(content)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_vocabulary_that_is_too_small_is_told_its_size(read):
    with pytest.raises(UsageError, match=r"\[dims\] vocab is 20: it must be at least 26"):
        read(as_csv(sentences()), dims=dataclasses.replace(ENCODER, vocab=20))


def test_a_tokenizer_and_a_parquet_file_that_are_none_are_refused(read, tokenizer):
    with pytest.raises(UsageError, match=r"t\.parquet cannot be read as Parquet"):
        read("no table", name="t.parquet")
    tokenizer.write_text("{}")
    with pytest.raises(UsageError, match=r"tokenizer\.json is not a tokenizer\.json"):
        read(as_csv(sentences()))


# Images


def stripes(count=300):
    """uint8 [N, 4, 4, 1] and labels: 0 is dark above, 1 below; no two images alike."""
    label = np.arange(count) % 2
    pixels = np.zeros((count, 4, 4, 1), dtype=np.uint8)
    pixels[label == 0, :2], pixels[label == 1, 2:] = 250, 250
    pixels[:, 0, 0, 0], pixels[:, 0, 1, 0] = np.arange(count) % 250, np.arange(count) // 250
    return pixels, label


@pytest.fixture
def load(tmp_path):
    def loading(dims=CNN, **arrays):
        np.savez(tmp_path / "i.npz", **arrays)
        return of_npz(tmp_path / "i.npz", dims)

    return loading


def of_npz(path, dims=CNN):
    return images.of_arrays(files.source("arrays", {"images": str(path)}, SPLIT), dims)


def test_arrays_become_images_from_minus_one_to_one(load):
    pixels, label = stripes()
    made, left_out = load(images=pixels, labels=label)
    assert left_out.rows == []
    assert made["train.image"].shape[1:] == (1, 4, 4)
    assert made["train.image"].dtype == np.float32
    assert made["train.image"].min() == -1
    below = made["test.image"][:, 0, 3, 3] == np.float32(250 / 127.5 - 1)
    assert np.array_equal(below, made["test.label"] == 1)


@pytest.mark.parametrize("order", [(0, 3, 1, 2), (0, 1, 2)])
def test_channels_may_come_first_or_be_left_out(load, order):
    pixels, label = stripes()
    expected, _ = load(images=pixels, labels=label)
    turned = pixels.transpose(order) if len(order) == 4 else pixels[..., 0]
    made, _ = load(images=turned, labels=label)
    assert np.array_equal(made["train.image"], expected["train.image"])


def test_floats_are_taken_as_they_are_and_names_are_classes(load):
    pixels, label = stripes()
    given = pixels.astype(np.float64) / 100
    names = np.array(["dog", "cat"])[label]
    given[7, 0, 0, 0] = np.nan
    names[8] = ""
    made, left_out = load(images=given, labels=names)
    assert left_out.rows == [("image 7", "pixels that are not finite"), ("image 8", "no label")]
    assert np.array_equal(made["test.image"][:, 0, 3, 3] == 2.5, made["test.label"] == 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": None}, "i.npz lacks an array: it needs images and labels"),
        ({"labels": np.zeros(5)}, "labels (5,) do not belong to images (300, 4, 4, 1)"),
        ({"images": np.zeros((300, 5, 5, 1))}, "images are (300, 5, 5, 1), but [dims] says image"),
        ({"images": np.zeros((300, 4, 4, 1), np.int32)}, "images are int32: uint8 or float"),
        ({"labels": np.zeros(300, complex)}, "labels are complex128: numbers or texts"),
        ({"labels": np.array([None] * 300)}, "cannot be read as NPZ without pickles"),
        ({"labels": np.arange(300)}, "i.npz has 300 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...)"),
        ({"labels": np.full(300, -1)}, "300 of 300 left out: image 0 (label -1 is out of range)"),
    ],
)
def test_arrays_that_make_no_sense_are_refused_in_a_line(load, change, said):
    pixels, label = stripes()
    given = {"images": pixels, "labels": label, **change}
    with pytest.raises(UsageError) as caught:
        load(**{name: one for name, one in given.items() if one is not None})
    assert said in str(caught.value)


def test_a_torn_or_foreign_file_is_refused(tmp_path, load):
    load(images=stripes()[0], labels=stripes()[1])
    whole = (tmp_path / "i.npz").read_bytes()
    for content in (b"", b"no zip", whole[: len(whole) // 2]):
        (tmp_path / "torn.npz").write_bytes(content)
        with pytest.raises(UsageError, match=r"torn\.npz cannot be read as NPZ"):
            of_npz(tmp_path / "torn.npz")


def test_more_than_memory_holds_is_refused_before_it_is_read():
    with pytest.raises(UsageError, match="100000 images of 224 x 224 take 56 GiB"):
        images._check_room(100_000, dataclasses.replace(CNN, image=224, channels=3))


def photos(folder, count=150):
    """Two classes of 8 x 6 PNG files; the middle square of ``left`` is dark at the left."""
    for name in ("left", "right"):
        (folder / name).mkdir(parents=True)
        for n in range(count):
            pixels = np.full((6, 8, 3), 200, dtype=np.uint8)
            pixels[:, :4] = 0 if name == "left" else 255
            pixels[0, 0] = n % 250, n // 250, 0
            Image.fromarray(pixels).save(folder / name / f"{n}.png")
    return folder


def of_folder(folder, dims=CNN, **options):
    own = files.source("images", {"images": str(folder)}, {**SPLIT, **options})
    return images.of_folder(own, dims)


def test_a_folder_of_classes_is_decoded_and_what_is_no_image_is_named(tmp_path):
    folder = photos(tmp_path / "photos")
    (folder / "left" / "broken.png").write_bytes((folder / "left" / "1.png").read_bytes()[:60])
    (folder / "left" / "notes.txt").write_text("no image")
    (folder / "right" / "more").mkdir()
    (folder / "right" / "more" / "x.png").write_bytes(b"")
    (folder / "readme.md").write_text("")
    Image.fromarray(np.zeros((6, 8), np.uint16)).save(folder / "right" / "deep.png")
    made, left_out = of_folder(folder, dataclasses.replace(CNN, channels=3))
    named = dict(left_out.rows)
    assert left_out.total == 305
    assert named.pop("left/broken.png").startswith("cannot be decoded: ")
    assert named == {
        "left/notes.txt": "neither a PNG nor a JPEG image",
        "readme.md": "not a file in the folder of a class",
        "right/deep.png": "more than 8 bits a channel (mode I;16)",
        "right/more": "not a file in the folder of a class",
    }
    assert made["train.image"].shape[1:] == (3, 4, 4)
    assert np.array_equal(made["test.image"][:, 0, 3, 0] == -1, made["test.label"] == 0)
    assert len(made["train.label"]) + len(made["test.label"]) == 300


def test_images_in_files_have_one_or_three_channels(tmp_path):
    (tmp_path / "photos" / "left").mkdir(parents=True)
    with pytest.raises(UsageError, match="images in files have 1 or 3 channels"):
        of_folder(tmp_path / "photos", dataclasses.replace(CNN, channels=2))


# In a pilot file


PILOT = """
[size.tickets]
model = "transformer"
batch = 8

[size.tickets.data]
text = "t.csv"
tokenizer = "tokenizer.json"

[size.tickets.dims]
vocab = 26
positions = 16
types = 2
layers = 1
width = 8
heads = 2
ffn = 16
classes = 2
sequence = 8
"""


def pilot(folder, text=PILOT):
    (folder / "pilot.toml").write_text(text, encoding="utf-8")
    return pilot_file.read(folder / "pilot.toml").specs()


def spec_of(folder, text=PILOT):
    return pilot(folder, text).size("transformer", "transformer", "tickets")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('text = "t.csv"\n', "", "line 6: size.tickets.data.text: it is missing"),
        ("tokenizer =", "tokeniser =", "line 8: size.tickets.data.tokeniser: there is no such key"),
        ('"t.csv"', '"t.xlsx"', "line 7: size.tickets.data.text: it must end with .csv or .parq"),
        ('"tokenizer.json"', '""', "size.tickets.data.tokenizer: string should have at least 1"),
        (
            '"tokenizer.json"\n',
            '"tokenizer.json"\nheld_out = 1\n',
            "line 9: size.tickets.data.held_out: input should be less than 1",
        ),
        ('text = "t.csv"\ntokenizer =', "images =", "this data is for the model cnn"),
        ('text = "t.csv"', 'image = "photos"', "data.image: there is no such key: did you mean 'i"),
    ],
)
def test_a_wrong_table_is_named_with_its_line(tmp_path, old, new, said):
    assert old in PILOT
    with pytest.raises(UsageError, match=r"^pilot\.toml") as caught:
        pilot(tmp_path, PILOT.replace(old, new))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_none_of_the_references_is_refused(tmp_path):
    table = PILOT[PILOT.index("[size.tickets.data]") : PILOT.index("[size.tickets.dims]")]
    with pytest.raises(
        UsageError, match=r"line 5: size\.tickets\.data: input should be 'digits', "
    ):
        pilot(
            tmp_path, PILOT.replace(table, "").replace("batch = 8\n", "batch = 8\ndata = 'own'\n")
        )


def test_a_file_is_beside_the_pilot_file_and_only_looked_for_when_it_is_run(tmp_path):
    known = pilot(tmp_path)  # as `bench score --spec` reads it on another machine
    with pytest.raises(UsageError, match=r"t\.csv \(No such file or directory\): paths are relati"):
        known.size("transformer", "transformer", "tickets")


def test_the_digest_is_of_what_files_hold_and_not_of_where_they_lie(tmp_path, tokenizer):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        (folder / "t.csv").write_text(as_csv(sentences()))
        (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    first, second = (catalogue.digest(spec_of(folder)) for folder in folders)
    assert first == second
    (folders[1] / "t.csv").write_text(as_csv(sentences(299)))
    assert catalogue.digest(spec_of(folders[1])) != first
    changed = PILOT.replace('"tokenizer.json"', '"tokenizer.json"\nheld_out = 0.5')
    assert catalogue.digest(spec_of(folders[0], changed)) != first


def test_a_folder_is_hashed_with_its_names(tmp_path):
    for name in ("a/cat/1.png", "b/cat/1.png", "c/dog/1.png", "d/cat/1.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text("other" if name[0] == "d" else "same")
    same, *others = (files.sha256(tmp_path / name) for name in "abcd")
    assert others[0] == same
    assert len({same, *others}) == 3


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def tickets(tmp_path, tokenizer):
    """A spec as the process gets it that prepares: through JSON."""
    (tmp_path / "t.csv").write_text(as_csv([*sentences(), ("", "c0")]))
    spec = spec_of(tmp_path, PILOT.replace('"tokenizer.json"', '"tokenizer.json"\nheld_out = 0.4'))
    again = SizeSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    return again


def test_what_is_prepared_is_found_again_by_content_and_says_what_was_left_out(
    own_cache, tickets, tmp_path
):
    assert isinstance(tickets.data, Own)
    assert tickets.learns
    made = materials.materials("transformer", "tickets", tickets)
    assert (made / materials.LEFT_OUT).read_text() == "t.csv: 1 of 301 left out: line 302 (no text)"
    assert safetensors.read(made / materials.DATA)["train.ids"].shape[1] == 8
    moved = dataclasses.replace(tickets.data, paths={"text": "nowhere", "tokenizer": "nowhere"})
    elsewhere = dataclasses.replace(tickets, data=moved)
    assert materials.materials("transformer", "tickets", elsewhere) == made


def test_a_file_that_changes_meanwhile_is_refused(own_cache, tickets, tmp_path):
    (tmp_path / "t.csv").write_text("text,label\n")
    with pytest.raises(UsageError, match=r"t\.csv was changed after the run had begun"):
        materials.materials("transformer", "tickets", tickets)


def test_a_gate_batch_of_more_than_is_held_out_is_refused(own_cache, tickets, tmp_path):
    large = dataclasses.replace(tickets, batch=512)
    with pytest.raises(
        UsageError, match=r"batch of 512 held-out samples, but there are \d+: set g"
    ):
        prepare.own("transformer", "tickets", large, torch=tmp_path / "python")


def test_the_run_says_what_is_left_out(tmp_path, monkeypatch):
    (tmp_path / materials.LEFT_OUT).write_text("t.csv: 1 of 9 left out: line 3 (no text)")
    prepared = prepare.Prepared(*[tmp_path / name for name in "weds"])

    class Known:
        own = ("tickets",)
        of_model = staticmethod(lambda *_: catalogue.of_model("cnn", "tiny"))

    class Torch:
        python = "python"

    monkeypatch.setattr(preparing, "made", lambda *_: prepared)
    said = []
    assert preparing.of(Known(), lambda *_: Torch, said.append, "cnn", "tickets") == prepared
    assert said == ["tickets: t.csv: 1 of 9 left out: line 3 (no text)"]


def test_what_a_line_quotes_cannot_break_it():
    left_out = LeftOut("t.csv", total=2)
    left_out.add("a\nb\x1b[31m\udc80", "no text")
    assert left_out.line == "1 of 2 left out: a b [31m (no text)"


DECODER = DecoderDims(50, 1, 8, 2, 1, 16, 4)


def token_file(tmp_path, numbers, *, name="corpus.bin", dtype="uint16"):
    """A file of tokens -> its source."""
    path = tmp_path / name
    array = np.array(numbers, dtype=np.dtype(dtype).newbyteorder("<"))
    if name.endswith(".npy"):
        np.save(path, array)
    else:
        path.write_bytes(array.tobytes())
    table = TokensTable.model_validate({"tokens": str(path), "dtype": dtype, "held_out": 0.4})
    return table.source()


@pytest.mark.parametrize(
    ("name", "dtype"), [("c.bin", "uint16"), ("c.bin", "int64"), ("c.npy", "int32")]
)
def test_a_row_of_tokens_becomes_samples_whose_labels_are_the_next_tokens(tmp_path, name, dtype):
    stream = np.random.RandomState(0).randint(50, size=4 * 400 + 3)
    made, left_out = tokens.tensors(token_file(tmp_path, stream, name=name, dtype=dtype), DECODER)
    assert (left_out.rows, left_out.total) == ([], 400)
    assert {array.dtype.name for array in made.values()} == {"int64"}
    ids = np.concatenate([made["train.ids"], made["test.ids"]])
    label = np.concatenate([made["train.label"], made["test.label"]])
    expected = {(*stream[at : at + 5],) for at in range(0, 1600, 4)}
    assert {(*row, last) for row, last in zip(ids, label[:, -1], strict=True)} == expected
    assert np.array_equal(ids[:, 1:], label[:, :-1])


def test_a_token_outside_of_the_vocabulary_takes_its_sample_out_and_is_named(tmp_path):
    stream = np.random.RandomState(0).randint(50, size=4 * 400 + 1)
    stream[9], stream[16] = 50, 60000  # the second is a sample's first and another's last label
    made, left_out = tokens.tensors(token_file(tmp_path, stream), DECODER)
    assert left_out.line == (
        "3 of 400 left out: tokens 8 to 12 (token 50 of a vocabulary of 50), tokens 12 to 16 "
        "(token 60000 of a vocabulary of 50), tokens 16 to 20 (token 60000 of a vocabulary of 50)"
    )
    assert len(made["train.label"]) + len(made["test.label"]) == 397


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"abc", "c.bin", "no multiple of the 2 of uint16"),
        (b"", "c.bin", "cannot read"),
        (b"no numpy file", "c.npy", "cannot read"),
        (np.lib.format.magic(1, 0), "c.npy", "cannot read"),
    ],
)
def test_a_file_that_holds_no_row_of_tokens_is_refused(tmp_path, content, name, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=said):
        tokens.read(tmp_path / name, "uint16")


@pytest.mark.parametrize("array", [np.zeros((3, 4), int), np.zeros(4), np.array([{}], object)])
def test_other_arrays_are_no_row_of_tokens_and_no_pickle_is_read(tmp_path, array):
    np.save(tmp_path / "c.npy", array, allow_pickle=True)
    with pytest.raises(UsageError, match=r"one row of whole numbers|Python objects"):
        tokens.read(tmp_path / "c.npy", "")


def test_tokens_are_for_the_decoder(tmp_path):
    dims = {**dataclasses.asdict(CNN), "widths": [4], "blocks": [1]}
    given = {"model": "cnn", "batch": 2, "data": {"tokens": "c.bin"}, "dims": dims}
    with pytest.raises(ValidationError, match="this data is for the model decoder or lora"):
        OwnSize.model_validate(given)
