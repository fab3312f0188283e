"""Weights of the user's own: layouts that are understood, dims that they say, what is refused."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from bench import pilot_file, safetensors
from bench.contract import CnnDims, EncoderDims
from bench.errors import UsageError
from workloads import SizeSpec, catalogue, materials, tensors, weights

BERT = EncoderDims(30, 20, 2, 2, 8, 2, 16, 3, 12)
BERT_CONFIG = {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "vocab_size": 30,
    "max_position_embeddings": 20,
    "type_vocab_size": 2,
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "position_embedding_type": "absolute",
}
RESNET = CnnDims(16, 3, 5, "7x7", (4, 8), (1, 2), bottleneck=True)
BASIC = CnnDims(16, 1, 5, "3x3", (4, 8), (2, 1))
PILOT = """
[size.mine]
model = "MODEL"
batch = 8
weights = "mine/"

[size.mine.dims]
DIMS
"""


def given(dims):
    """The tensors, by our names; LayerNorms with values of their own."""
    return weights.seeded(dims, name="given")


def written(folder, arrays, config=None):
    made = folder / "mine"
    made.mkdir(exist_ok=True)
    tensors.save(made / "model.safetensors", arrays)
    if config is not None:
        (made / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return made


def sized(folder, model="transformer", dims="sequence = 12"):
    """The size's spec, as the process that prepares gets it."""
    text = PILOT.replace("MODEL", model).replace("DIMS", dims)
    (folder / "pilot.toml").write_text(text, encoding="utf-8")
    spec = pilot_file.read(folder / "pilot.toml").specs().size(model, model, "mine")
    return SizeSpec.from_json(json.loads(json.dumps(spec.to_json())))


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))

    def preparing(model="transformer", dims="sequence = 12"):
        made = materials.materials(model, "mine", sized(tmp_path, model, dims))
        return safetensors.read(made / materials.WEIGHTS)

    return preparing


def prefixed(arrays, *, old=False):
    """As BertForSequenceClassification has them; ``old``: as the first conversions did."""
    names = {key: key if key.startswith("classifier") else f"bert.{key}" for key in arrays}
    if old:
        for key, name in names.items():
            norm = re.sub(r"(?<=LayerNorm\.)weight$", "gamma", name)
            names[key] = re.sub(r"(?<=LayerNorm\.)bias$", "beta", norm)
    return {names[key]: array for key, array in arrays.items()}


@pytest.mark.parametrize("old", [False, True])
def test_a_bert_with_a_classifier_says_all_but_the_sequence(tmp_path, prepared, old):
    arrays = given(BERT)
    more = {
        "bert.embeddings.position_ids": np.arange(20)[None],
        "cls.predictions.bias": np.zeros(30, dtype=np.float32),
    }
    written(tmp_path, {**prefixed(arrays, old=old), **more}, BERT_CONFIG)
    assert sized(tmp_path).dims == BERT
    made = prepared()
    assert all(np.array_equal(made[key], arrays[key]) for key in arrays)
    assert set(made) == set(arrays)


def test_without_a_classifier_a_seeded_one_is_made_and_classes_have_to_be_said(tmp_path, prepared):
    arrays = {key: one for key, one in given(BERT).items() if not key.startswith("classifier")}
    written(tmp_path, arrays, BERT_CONFIG)
    with pytest.raises(
        UsageError, match=r"^\[size\.mine\.dims\], with what .* says: classes: it i"
    ):
        sized(tmp_path)
    made = prepared(dims="sequence = 12\nclasses = 3")
    seeded = weights.seeded(BERT, name="transformer-mine")["classifier.weight"]
    assert np.array_equal(made["classifier.weight"], seeded)
    assert np.array_equal(made["pooler.dense.weight"], arrays["pooler.dense.weight"])


def test_the_sequence_has_to_be_said_and_may_not_be_too_long(tmp_path):
    written(tmp_path, given(BERT), BERT_CONFIG)
    with pytest.raises(UsageError, match="says: sequence: it is missing"):
        sized(tmp_path, dims="")
    with pytest.raises(UsageError, match="sequence 21 is longer than positions"):
        sized(tmp_path, dims="sequence = 21")


def test_what_is_said_twice_must_be_the_same(tmp_path):
    written(tmp_path, given(BERT), BERT_CONFIG)
    assert sized(tmp_path, dims="sequence = 12\nwidth = 8\nclasses = 3").dims == BERT
    with pytest.raises(
        UsageError, match=r"\[size\.mine\.dims\] width is 16, but 8 in .*/mine: lea"
    ):
        sized(tmp_path, dims="sequence = 12\nwidth = 16")
    with pytest.raises(UsageError, match=r"classes is 2, but 3 in"):
        sized(tmp_path, dims="sequence = 12\nclasses = 2")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"model_type": "roberta"},
            "model_type is 'roberta' in config.json: only 'bert' is unders",
        ),
        ({"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new' in config.json: only 'gelu'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"vocab_size": None}, "vocab: input should be a valid integer, not None"),
        ({"num_attention_heads": 3}, "width 8 must be a multiple of heads 3"),
    ],
)
def test_a_configuration_of_another_function_is_refused(tmp_path, change, said):
    written(tmp_path, given(BERT), {**BERT_CONFIG, **change})
    with pytest.raises(UsageError) as caught:
        sized(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_configuration_that_lacks_a_key_or_is_none_is_refused(tmp_path):
    made = written(tmp_path, given(BERT))
    with pytest.raises(UsageError, match=r"there is no config\.json"):
        sized(tmp_path)
    written(tmp_path, given(BERT), {"model_type": "bert"})
    with pytest.raises(UsageError, match=r"config\.json has no vocab_size"):
        sized(tmp_path)
    for text, said in (("{", r"config\.json cannot be read"), ("[]", "is not a JSON object")):
        (made / "config.json").write_text(text)
        with pytest.raises(UsageError, match=said):
            sized(tmp_path)


def without(arrays, part):
    return {key: one for key, one in arrays.items() if part not in key}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda a: without(a, "layer.1.output.dense"),
            "has no encoder.layer.1.output.dense.weight of shape (8, 16) (and 1 more)",
        ),
        (lambda a: without(a, "classifier.bias"), "has no classifier.bias of shape (3,)"),
        (
            lambda a: {**a, "bert.encoder.layer.2.output.dense.bias": a["bert.pooler.dense.bias"]},
            "has encoder.layer.2.output.dense.bias of shape (8,), for which there is no place",
        ),
        (
            lambda a: {**a, "bert.pooler.dense.weight": np.zeros((8, 9), np.float32)},
            "pooler.dense.weight has the shape (8, 9), not (8, 8)",
        ),
        (
            lambda a: {**a, "pooler.dense.bias": a["bert.pooler.dense.bias"]},
            "is there twice, with and without a prefix",
        ),
        (
            lambda a: {**a, "bert.pooler.dense.bias": np.full(8, np.nan, np.float32)},
            "pooler.dense.bias has values that are not finite",
        ),
        (
            lambda a: {**a, "bert.pooler.dense.bias": np.arange(8)},
            "pooler.dense.bias is int64: save it as float32",
        ),
    ],
)
def test_a_tensor_that_is_missing_extra_or_misshaped_is_named(tmp_path, prepared, change, said):
    written(tmp_path, change(prefixed(given(BERT))), BERT_CONFIG)
    with pytest.raises(UsageError) as caught:
        prepared()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_half_precision_is_widened_exactly(tmp_path, prepared, monkeypatch):
    monkeypatch.setitem(tensors.DTYPES, "float16", "F16")
    arrays = {key: one.astype(np.float16) for key, one in given(BERT).items()}
    written(tmp_path, arrays, BERT_CONFIG)
    made = prepared()
    assert made["pooler.dense.weight"].dtype == np.float32
    assert np.array_equal(made["pooler.dense.weight"], arrays["pooler.dense.weight"])


def test_what_lies_there_instead_is_named_with_the_mend(tmp_path):
    with pytest.raises(UsageError, match=r"there is no folder .*/mine: the paths of a pilot file"):
        sized(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UsageError, match=r"there is no model\.safetensors in .*/mine"):
        sized(tmp_path)
    (tmp_path / "mine" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UsageError, match=r"pytorch_model\.bin is a pickle, which may run code"):
        sized(tmp_path)
    (tmp_path / "mine" / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(UsageError, match="has its weights in shards: save them as one file"):
        sized(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('weights = "minlm"', "line 5: size.mine.weights: input should be 'seeded', 'minilm' or a"),
        ('weights = "seeded"', "line 7: size.mine.dims.vocab: it is missing"),
        ("weights = 1", "size.mine.weights: input should be a valid string, not 1"),
    ],
)
def test_a_name_that_is_no_folder_is_refused_with_its_line(tmp_path, text, said):
    whole = PILOT.replace("MODEL", "transformer").replace("DIMS", "sequence = 12")
    (tmp_path / "pilot.toml").write_text(whole.replace('weights = "mine/"', text))
    with pytest.raises(UsageError) as caught:
        pilot_file.read(tmp_path / "pilot.toml")
    assert said in str(caught.value)


def test_without_dims_a_named_start_says_so(tmp_path):
    (tmp_path / "pilot.toml").write_text('[size.mine]\nmodel = "cnn"\nbatch = 8\n')
    with pytest.raises(UsageError, match=r"line 1: size\.mine\.dims: it is missing"):
        pilot_file.read(tmp_path / "pilot.toml")


# Residual networks


@pytest.mark.parametrize("dims", [RESNET, BASIC])
def test_torchvisions_names_say_all_but_the_image(tmp_path, prepared, dims):
    arrays = given(dims)
    counters = {
        key.replace("running_mean", "num_batches_tracked"): np.zeros((), dtype=np.int64)
        for key in arrays
        if key.endswith("running_mean")
    }
    written(tmp_path, {**arrays, **counters}, {"architecture": "resnet50.a1_in1k"})
    assert sized(tmp_path, "cnn", "image = 16").dims == dims
    made = prepared("cnn", "image = 16")
    assert set(made) == set(arrays)
    assert all(np.array_equal(made[key], arrays[key]) for key in arrays)


def hugging_face(name):
    """What transformers' ResNetForImageClassification calls one of our tensors."""
    part = {"conv": "convolution", "bn": "normalization", "0": "convolution", "1": "normalization"}
    if found := re.fullmatch(r"(conv|bn)1\.(\w+)", name):
        return f"resnet.embedder.embedder.{part[found[1]]}.{found[2]}"
    if found := re.fullmatch(r"fc\.(\w+)", name):
        return f"classifier.1.{found[1]}"
    stage, block, rest = re.fullmatch(r"layer(\d)\.(\d)\.(.*)", name).groups()
    at = f"resnet.encoder.stages.{int(stage) - 1}.layers.{block}"
    if found := re.fullmatch(r"downsample\.([01])\.(\w+)", rest):
        return f"{at}.shortcut.{part[found[1]]}.{found[2]}"
    found = re.fullmatch(r"(conv|bn)(\d)\.(\w+)", rest)
    return f"{at}.layer.{int(found[2]) - 1}.{part[found[1]]}.{found[3]}"


def test_hugging_faces_resnet_is_the_same_network(tmp_path, prepared):
    arrays = given(RESNET)
    config = {"model_type": "resnet", "hidden_act": "relu", "layer_type": "bottleneck"}
    written(tmp_path, {hugging_face(key): one for key, one in arrays.items()}, config)
    assert sized(tmp_path, "cnn", "image = 16").dims == RESNET
    made = prepared("cnn", "image = 16")
    assert all(np.array_equal(made[key], arrays[key]) for key in arrays)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "vit"}, "model_type is 'vit' in config.json: only 'resnet' is understood"),
        ({"downsample_in_bottleneck": True}, "downsample_in_bottleneck is True"),
        ({"architecture": "resnet50d"}, "architecture is 'resnet50d' in config.json: a plain Res"),
    ],
)
def test_another_network_is_refused(tmp_path, config, said):
    written(tmp_path, given(RESNET), config)
    with pytest.raises(UsageError, match=re.escape(said)):
        sized(tmp_path, "cnn", "image = 16")


def test_names_that_are_of_no_layout_are_told_which_are(tmp_path):
    written(tmp_path, {"stem.conv.weight": np.zeros((4, 3, 7, 7), np.float32)})
    with pytest.raises(
        UsageError, match=r"neither torchvision's names .* nor those of Hugging Face"
    ):
        sized(tmp_path, "cnn", "image = 16")


def test_the_digest_and_the_cache_are_of_the_tensors_and_not_of_the_place(tmp_path, prepared):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
        written(folder, given(BERT), {**BERT_CONFIG, "_name_or_path": folder.name})
    one, other = map(sized, folders)
    assert catalogue.digest(one) == catalogue.digest(other)
    made = {materials.materials("transformer", "mine", spec) for spec in (one, other)}
    assert len(made) == 1
    changed = given(BERT)
    changed["pooler.dense.bias"] = changed["pooler.dense.bias"] + 1
    written(folders[1], changed)
    assert catalogue.digest(sized(folders[1])) != catalogue.digest(one)
