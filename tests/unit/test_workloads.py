"""Specs: what the committed ones say, and what a wrong one is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import workloads
from bench.dims import CnnDims, DecoderDims, EncoderDims
from bench.errors import UsageError
from workloads import catalogue, flops, synthetic


def test_the_workloads_and_their_models():
    assert catalogue.names() == (
        "cnn",
        "transformer",
        "llm",
        "lora",
        "generate",
        "module",
        "export",
        "capability",
    )
    assert catalogue.models("cnn") == ("cnn",)
    assert catalogue.models("export") == ("cnn", "transformer", "module")


def test_small_cnn_is_resnet18_and_small_transformer_is_minilm():
    cnn = catalogue.size("cnn", "cnn", "small")
    assert isinstance(cnn.dims, CnnDims)
    assert (cnn.dims.widths, cnn.dims.blocks) == ((64, 128, 256, 512), (2, 2, 2, 2))
    assert (cnn.batch, cnn.optimizer.name, cnn.optimizer.lr) == (32, "sgd", 0.0002)
    encoder = catalogue.size("transformer", "transformer", "small")
    assert isinstance(encoder.dims, EncoderDims)
    assert (encoder.dims.layers, encoder.dims.width, encoder.dims.ln_eps) == (6, 384, 1e-12)
    assert (encoder.batch, encoder.dims.sequence, encoder.optimizer.name) == (16, 64, "adamw")


def test_base_cnn_is_resnet50_and_base_transformer_is_bert_base():
    cnn = catalogue.size("cnn", "cnn", "base")
    assert isinstance(cnn.dims, CnnDims)
    assert (cnn.dims.blocks, cnn.dims.bottleneck, cnn.dims.stem) == ((3, 4, 6, 3), True, "7x7")
    assert (cnn.batch, cnn.gate_batch, cnn.dims.image, cnn.dims.classes) == (256, 8, 224, 1000)
    # 4.089 G multiply-adds an image, as torchvision's table of models says of resnet50.
    assert flops.per_sample(cnn.dims, training=False) == pytest.approx(2 * 4.089e9, rel=1e-3)
    encoder = catalogue.size("transformer", "transformer", "base")
    assert isinstance(encoder.dims, EncoderDims)
    assert (encoder.dims.layers, encoder.dims.width, encoder.dims.heads) == (12, 768, 12)
    assert (encoder.batch, encoder.dims.sequence) == (32, 512)


def test_the_decoder_is_trained_by_llm():
    assert catalogue.models("llm") == ("decoder",)
    assert catalogue.REFERENCE.home("decoder") == "llm"
    assert catalogue.sizes_of("decoder") == ("tiny", "small", "base", "large")
    small = catalogue.of_model("decoder", "small")
    assert small == catalogue.size("llm", "decoder", "small")
    assert isinstance(small.dims, DecoderDims)
    assert (small.dims.heads, small.dims.kv_heads, small.dims.head_width) == (8, 2, 32)
    assert (small.batch, small.dims.sequence, small.data) == (8, 128, "reviews")
    assert "decoder" not in catalogue.models("export")
    base = catalogue.of_model("decoder", "base")
    assert isinstance(base.dims, DecoderDims)
    assert (base.dims.heads, base.dims.kv_heads, base.dims.head_width) == (15, 5, 64)
    assert (base.batch, base.gate_batch, base.dims.sequence, base.data) == (8, 2, 512, "reviews")
    large = catalogue.of_model("decoder", "large")
    assert isinstance(large.dims, DecoderDims)
    assert (large.dims.heads, large.dims.kv_heads, large.dims.head_width) == (32, 4, 64)
    assert (large.batch, large.gate_batch, large.dims.sequence) == (8, 1, 512)
    with pytest.raises(UsageError, match="no workload trains the model seq2seq"):
        catalogue.REFERENCE.home("seq2seq")


def test_noise_is_the_same_every_time_and_has_every_shape():
    dims = replace(catalogue.size("cnn", "cnn", "base").dims, image=8)
    first, second = synthetic.noise(dims), synthetic.noise(dims)
    assert first["train.image"].shape == (64, 3, 8, 8)
    assert first["train.image"].dtype == np.float32
    assert all(np.array_equal(first[key], second[key]) for key in first)
    text = synthetic.noise(catalogue.size("transformer", "transformer", "base").dims)
    assert text["test.ids"].shape == text["test.mask"].shape == (64, 512)
    assert text["test.mask"].all()
    assert int(text["train.ids"].max()) < 30522
    tokens = synthetic.noise(catalogue.of_model("decoder", "tiny").dims)
    assert tokens["test.ids"].shape == tokens["test.label"].shape == (64, 32)
    assert set(tokens) == {
        f"{split}.{key}" for split in ("train", "test") for key in ("ids", "label")
    }


@pytest.mark.parametrize("model", ["cnn", "transformer"])
@pytest.mark.parametrize("size", workloads.SIZES)
def test_export_takes_shapes_and_optimizer_from_the_models_own_spec(model, size):
    own, export = catalogue.size(model, model, size), catalogue.size("export", model, size)
    assert (export.dims, export.optimizer) == (own.dims, own.optimizer)
    assert (export.quality_steps, export.quality_lr) == (own.quality_steps, own.quality_lr)
    assert export.batch == 1


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("cn", "cnn", "tiny"), "unknown workload 'cn': did you mean 'cnn'?"),
        (("cnn", "transformer", "tiny"), "unknown model of workload cnn 'transformer'"),
        (("cnn", "cnn", "smal"), "unknown size 'smal': did you mean 'small'?"),
        (
            ("capability", "transformer", "large"),
            "size 'large' is not there yet for capability: use tiny, small",
        ),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(asked, message):
    with pytest.raises(UsageError) as caught:
        catalogue.size(*asked)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "measure_s = 1.5",
            "measure_s = 'long'",
            "line 19: size.tiny.measure_s: input should be a valid number, not 'long'",
        ),
        ("measure_s = 1.5", "measures = 1.5", "did you mean 'measure_s'?"),
        ("batch = 32", "", "line 14: size.tiny.batch: it is missing"),
        (
            "batch = 32",
            "batch = true",
            "line 17: size.tiny.batch: input should be a valid integer, not True",
        ),
        ("batch = 32", "batch = -1", "batch: input should be greater than 0, not -1"),
        ("batch = 32", "batch = 0", "batch: input should be greater than 0, not 0"),
        ("blocks = [1, 1, 1]", "blocks = [1, 1]", "widths and blocks must be equally long"),
        (
            "blocks = [1, 1, 1]",
            "blocks = [1, 1, 0.5]",
            "line 35: size.tiny.dims.blocks.2: input should be a valid integer, not 0.5",
        ),
        (
            'stem = "3x3"',
            'stem = "5x5"',
            "line 33: size.tiny.dims.stem: input should be '3x3' or '7x7', not '5x5'",
        ),
        ('name = "sgd"', 'nam = "sgd"', "did you mean 'name'?"),
        ('models = ["cnn"]', "", "models: it is missing"),
        ('models = ["cnn"]', "model = ['cnn']", "did you mean 'models'?"),
        ("[size.tiny]", "[size.tiny", "cnn.toml is not TOML: Expected ']' at the end of a table"),
    ],
)
def test_a_wrong_spec_is_named_with_its_place(tmp_path, monkeypatch, old, new, message):
    text = (workloads.FOLDER / "cnn.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "cnn.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    monkeypatch.setattr(workloads, "FOLDER", tmp_path)
    with pytest.raises(UsageError, match=r"cnn\.toml") as caught:
        catalogue.size("cnn", "cnn", "tiny")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value).strip()


def test_a_size_changes_single_keys_of_the_optimizer():
    tiny, small = (catalogue.size("cnn", "cnn", size).optimizer for size in ("tiny", "small"))
    assert (tiny.lr, small.lr) == (0.005, 0.0002)
    assert (tiny.momentum, tiny.weight_decay) == (small.momentum, small.weight_decay) == (0.9, 5e-4)


def test_a_wrong_key_in_a_spec_without_dims_is_found_too(tmp_path, monkeypatch):
    for path in workloads.FOLDER.glob("*.toml"):
        text = path.read_text(encoding="utf-8").replace("warmup_cap = 12", "warmup = 12")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(workloads, "FOLDER", tmp_path)
    with pytest.raises(UsageError, match=r"export\.toml, line 20: .*did you mean 'warmup_cap'"):
        catalogue.size("export", "cnn", "small")


def test_an_encoder_whose_heads_do_not_divide_its_width_is_refused(tmp_path, monkeypatch):
    text = (workloads.FOLDER / "transformer.toml").read_text(encoding="utf-8")
    wrong = text.replace("heads = 4", "heads = 5")
    (tmp_path / "transformer.toml").write_text(wrong, encoding="utf-8")
    monkeypatch.setattr(workloads, "FOLDER", tmp_path)
    with pytest.raises(UsageError, match="width 64 must be a multiple of heads 5"):
        catalogue.size("transformer", "transformer", "tiny")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kv_heads = 2", "kv_heads = 3", "heads 4 must be a multiple of kv_heads 3"),
        ("width = 64", "width = 66", "width 66 must be a multiple of twice heads 4"),
        ("norm_eps = 1e-5", "norm_eps = 0.0", "size.tiny.dims.norm_eps: input should be greater"),
        ("sequence = 32", "sequences = 32", "did you mean 'sequence'?"),
    ],
)
def test_a_decoder_that_cannot_be_is_refused(tmp_path, monkeypatch, old, new, message):
    text = (workloads.FOLDER / "llm.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "llm.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    monkeypatch.setattr(workloads, "FOLDER", tmp_path)
    with pytest.raises(UsageError) as caught:
        catalogue.size("llm", "decoder", "tiny")
    assert message in str(caught.value)


def test_a_new_spec_is_one_more_file(tmp_path, monkeypatch):
    for path in Path(workloads.FOLDER).glob("*.toml"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    text = (tmp_path / "cnn.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text.replace("batch = 32", "batch = 8"), encoding="utf-8")
    monkeypatch.setattr(workloads, "FOLDER", tmp_path)
    known = (
        "cnn",
        "transformer",
        "llm",
        "lora",
        "generate",
        "module",
        "export",
        "capability",
        "mine",
    )
    assert catalogue.names() == known
    assert catalogue.size("mine", "cnn", "tiny").batch == 8


# Products (multiply and add) of the tiny network at 32 x 32:
#   stem     32*32 * 9 * 3*16                                            =   442,368
#   layer 1  2 * 32*32 * 9 * 16*16                                       = 4,718,592
#   layer 2  16*16 * (9*16*32 + 9*32*32 + 16*32), the last is a shortcut = 3,670,016
#   layer 3  8*8 * (9*32*64 + 9*64*64 + 32*64)                           = 3,670,016
#   fc       64*10                                                       =       640
#   in all                                                               = 12,501,632
def test_flops_of_the_tiny_cnn_by_hand():
    dims = catalogue.size("cnn", "cnn", "tiny").dims
    assert flops.per_sample(dims, training=False) == 2 * 12_501_632
    assert flops.per_sample(dims, training=True) == 6 * 12_501_632


# ResNet-50 at 224 x 224 is published as 4.09 billion products (torchvision's model page).
def test_flops_of_resnet50_are_the_published_ones():
    dims = CnnDims(224, 3, 1000, "7x7", (64, 128, 256, 512), (3, 4, 6, 3), bottleneck=True)
    assert round(flops.per_sample(dims, training=False) / 2e9, 2) == 4.09


# Products of the tiny encoder, sequence 32, width 64, ffn 256, two layers:
#   query, key, value, output  4 * 32*64*64 =   524,288
#   attention, two products    2 * 32*32*64 =   131,072
#   feed-forward               2 * 32*64*256 = 1,048,576, so 1,703,936 a layer
#   pooler 64*64 and classifier 64*2          =     4,224
#   in all                                    = 3,412,096
def test_flops_of_the_tiny_encoder_by_hand():
    dims = catalogue.size("transformer", "transformer", "tiny").dims
    assert flops.per_sample(dims, training=False) == 2 * 3_412_096


# Products of the tiny decoder, sequence 32, width 64, 4 heads of 16 that share 2, ffn 176:
#   query and output, key and value  32 * (2 * 64*64 + 2 * 64*32) =   393,216
#   attention, two products          2 * 32*32*64                 =   131,072
#   gate, up and down                3 * 32*64*176                = 1,081,344, each 1,605,632
#   head                             32*64*512                    = 1,048,576
#   in all                                                        = 4,259,840
def test_flops_of_the_tiny_decoder_by_hand():
    dims = catalogue.of_model("decoder", "tiny").dims
    assert flops.per_sample(dims, training=False) == 2 * 4_259_840
    assert flops.per_sample(dims, training=True) == 6 * 4_259_840


def test_lora_has_the_shapes_of_llm_and_adapters_beside_them():
    for size in catalogue.sizes_of("lora"):
        adapted = catalogue.of_model("lora", size).dims
        assert isinstance(adapted, DecoderDims)
        assert adapted.lora_rank == 8
        plain = replace(adapted, lora_rank=0)
        assert plain == catalogue.of_model("decoder", size).dims


def test_generate_serves_the_network_of_llm_at_two_batches():
    assert catalogue.REFERENCE.batches("generate") == (1, 8)
    served = catalogue.size("generate", "decoder", "small")
    assert served.dims == catalogue.of_model("decoder", "small").dims
