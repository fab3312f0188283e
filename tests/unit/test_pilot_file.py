"""A pilot file: what may stand in it, what is wrong with one, and what becomes of the options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench import cli, pilot_file, pilot_options
from bench.dims import DecoderDims, EncoderDims
from bench.errors import UsageError
from bench.pilot_file import PilotFile
from workloads import catalogue
from workloads.own.tables import ImagesTable, OwnSize, TextTable, TokensTable

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = pilot_options.TEMPLATE.read_text(encoding="utf-8")


def written(folder: Path, text: str) -> Path:
    path = folder / "pilot.toml"
    path.write_text(text, encoding="utf-8")
    return path


def parsed(argv):
    return pilot_options.parsed(cli.command_line(), argv)


def options(path: Path, *arguments: str, command: str = "run"):
    """As ``bench COMMAND --spec path`` has them after the second reading."""
    results = [] if command == "run" else ["x.csv"]
    return parsed([command, *results, "--spec", str(path), *arguments])


def test_the_template_holds_every_key_there_is(tmp_path):
    """What is commented out as well: with all of it switched on, it is still a pilot file."""
    all_on = re.sub(r"^# (?=\w+ = |\[|\"\w)", "", TEMPLATE, flags=re.MULTILINE)
    given = pilot_file.read(written(tmp_path, all_on))
    for table in (given, given.budget, given.constraints, given.score):
        assert set(type(table).model_fields) == table.model_fields_set
    sizes = given.size.values()
    assert set().union(*(one.model_fields_set for one in sizes)) == set(OwnSize.model_fields)
    assert {one.model for one in sizes} == {"cnn", "transformer", "lora", "module"}
    for kind in (TextTable, ImagesTable, TokensTable):
        (data,) = (one.data for one in sizes if isinstance(one.data, kind))
        assert data.model_fields_set == set(kind.model_fields)


def test_the_committed_schema_is_the_models():
    committed = (ROOT / "docs" / "pilot.schema.json").read_text(encoding="utf-8")
    assert committed == pilot_file.schema(), "python -m bench.pilot_file > docs/pilot.schema.json"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("backends =", "backend =", "line 11: backend: there is no such key: did you mean 'backen"),
        (
            '"torch", ',
            '"trch", ',
            "line 11: backends: unknown backend 'trch': did you mean 'torc",
        ),
        ('["fp32"]', '["fp23"]', "line 13: precisions: unknown precision 'fp23'"),
        ('["fp32"]', "[]", "an empty list asks for nothing"),
        ('["fp32"]', '["all", "fp32"]', "'all' stands alone"),
        ('["auto"]', '["gpu"]', "devices: unknown device 'gpu'"),
        ("max_minutes = 10 ", "max_minutes = 0 ", "budget.max_minutes: input should be greater"),
        ('"export:onnx"', '"export:onyx"', "constraints.must.1: unknown --must export 'onyx'"),
        ("layers = 2", "layer = 2", "size.support-tickets.dims.layer: there is no such key"),
        ("gate_batch = 4 ", "train_batches = 2 ", "train_batches: input should be greater than or"),
        ("heads = 4", "heads = 5", "size.support-tickets.dims: width 128 must be a multiple"),
        ('model = "transformer"', 'model = "cnn"', "these dims are not those of a cnn"),
        (
            'model = "transformer"',
            'model = "bert"',
            "should be 'cnn', 'transformer', 'decoder', 'lora' or 'module', not 'bert'",
        ),
        ("[size.support-tickets", "[size.small", "[size.small] is one of the reference's"),
        ('precisions = ["fp32"]', 'sizes = ["smal"]', "sizes: unknown size 'smal': did you mean"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_the_nearest_name(tmp_path, old, new, said):
    assert old in TEMPLATE
    path = written(tmp_path, TEMPLATE.replace(old, new))
    with pytest.raises(UsageError, match=r"^pilot\.toml") as caught:
        pilot_file.read(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_with_sizes_of_its_own_asks_for_these_and_their_export(tmp_path):
    asked = options(written(tmp_path, TEMPLATE))
    assert (asked.backend, asked.size) == ("torch,jax,onnxruntime", "support-tickets")
    assert asked.workload == "transformer,export"
    spec = asked.catalogue.size("transformer", "transformer", "support-tickets")
    assert isinstance(spec.dims, EncoderDims)
    assert (spec.batch, spec.dims.width) == (16, 128)
    served = asked.catalogue.size("export", "transformer", "support-tickets")
    assert (served.batch, served.dims) == (1, spec.dims)


def test_a_decoder_of_ones_own_is_trained_by_llm_and_served_by_generate(tmp_path):
    dims = "vocab = 90\nlayers = 1\nwidth = 24\nheads = 6\nkv_heads = 3\nffn = 40\nsequence = 12\n"
    text = f'[size.letters]\nmodel = "decoder"\nbatch = 4\n[size.letters.dims]\n{dims}'
    asked = options(written(tmp_path, text))
    assert (asked.workload, asked.size) == ("llm,generate", "letters")
    spec = asked.catalogue.of_model("decoder", "letters")
    assert isinstance(spec.dims, DecoderDims)
    assert (spec.dims.head_width, spec.batch, spec.optimizer.name) == (4, 4, "adamw")
    assert spec == asked.catalogue.size("llm", "decoder", "letters")


def test_the_command_line_counts_more(tmp_path):
    text = 'backends = ["torch"]\nbatches = [4]\nquality = true\n[budget]\nrepeats = 3\n'
    text += '[settings]\nmalloc = ["keep"]\n'
    path = written(tmp_path, text)
    plain = options(path)
    assert (plain.backend, plain.batch, plain.repeats, plain.quality) == ("torch", "4", 3, True)
    assert (plain.size, plain.setting) == ("small", ["malloc=keep"])
    changed = options(
        path, "--backend", "jax", "--batch", "8", "--repeats", "1", "--setting", "a=b"
    )
    assert (changed.backend, changed.batch, changed.repeats) == ("jax", "8", 1)
    assert changed.setting == ["malloc=keep", "a=b"]


def test_score_and_shortlist_take_weights_prices_and_constraints(tmp_path):
    text = '[constraints]\nmust = ["train"]\nmax_host_mib = 100\n[score]\nprofile = "smb"\n'
    text += "[score.weights]\nperformance = 0.5\n[score.prices]\ncard = 2.5\n"
    path = written(tmp_path, text)
    asked = options(path, command="shortlist")
    assert (asked.must, asked.max_host_mib, asked.profile) == (["train"], 100.0, "smb")
    assert (asked.set, asked.prices) == (["performance=0.5"], {"card": 2.5})
    assert options(path, command="score").format == "table"


def test_two_sizes_of_one_name_are_told_apart(tmp_path):
    first = pilot_file.read(written(tmp_path, TEMPLATE)).specs()
    other = pilot_file.read(written(tmp_path, TEMPLATE.replace("ffn = 512", "ffn = 256"))).specs()
    asked = ("transformer", "transformer", "support-tickets")
    assert catalogue.digest(first.size(*asked)) != catalogue.digest(other.size(*asked))


def test_an_empty_file_changes_nothing(tmp_path):
    assert pilot_file.read(written(tmp_path, "")) == PilotFile()
    asked, plain = options(written(tmp_path, "")), parsed(["run"])
    same = set(vars(plain)) - {"spec", "parser", "catalogue"}
    assert {name: getattr(asked, name) for name in same} == {
        name: getattr(plain, name) for name in same
    }


@pytest.mark.parametrize("text", ["x = " + "[" * 5000, "x = " + "{a=" * 3000, "x = " + "9" * 5000])
def test_what_is_too_deep_or_too_long_is_not_toml(tmp_path, text):
    with pytest.raises(UsageError, match=r"^pilot\.toml is not TOML: "):
        pilot_file.read(written(tmp_path, text))


def test_an_error_does_not_move_the_cursor(capsys):
    assert cli.main(["run", "--\x1b[2Jbackend"]) == 2
    assert capsys.readouterr().err == (
        "bench: unrecognized arguments: -- [2Jbackend (see bench --help)\n"
    )
