"""What the two halves hand each other: ids, JSON, and what a program does not have."""

from __future__ import annotations

import json
import string
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import contract
from bench.contract import BenchError, Cell, Optimizer, Program, Unsupported
from bench.dims import CnnDims, DecoderDims, EncoderDims
from bench.rendezvous import HERE
from tests.cells import CNN, cell

ENCODER = EncoderDims(
    vocab=100, positions=64, types=2, layers=2, width=64, heads=4, ffn=256, classes=2, sequence=32
)
DECODER = DecoderDims(
    vocab=100, layers=2, width=64, heads=4, kv_heads=2, ffn=96, sequence=32, rope_theta=5e5
)


PLAIN = "torch/cnn/cnn/tiny/cpu/fp32/eager/out-of-box/b32/w1"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, PLAIN),
        ({"batch": 1, "world_size": 8}, "torch/cnn/cnn/tiny/cpu/fp32/eager/out-of-box/b1/w8"),
        ({"format": "onnx"}, PLAIN + "/onnx"),
        ({"compile_cache": "warm"}, PLAIN + "/warm"),
        ({"settings": {"layout": "nhwc"}}, PLAIN + "/layout=nhwc"),
        ({"settings": {"b": "2", "a": "1"}}, PLAIN + "/a=1/b=2"),
        (
            {"format": "native", "compile_cache": "warm", "settings": {"a": "1"}},
            PLAIN + "/native/warm/a=1",
        ),
        ({"settings": {"a": "1/b=2%"}}, PLAIN + "/a=1%2Fb%3D2%25"),
    ],
)
def test_an_id_is_made_from_these_parts(changes, expected):
    assert cell(**changes).id == expected


@pytest.mark.parametrize(
    "other",
    [
        {"backend": "jax"},
        {"workload": "export"},
        {"model": "transformer"},
        {"size": "small"},
        {"device": "cuda"},
        {"precision": "bf16"},
        {"mode": "compiled"},
        {"track": "tuned"},
        {"batch": 64},
        {"world_size": 2},
        {"format": "onnx"},
        {"compile_cache": "warm"},
        {"settings": {"layout": "nhwc"}},
    ],
)
def test_cells_that_may_not_be_pooled_differ_in_their_ids(other):
    assert cell(**other).id != cell().id


def test_what_the_size_fixes_is_not_in_an_id():
    assert cell(dims=ENCODER, optimizer=Optimizer("adamw", lr=1.0), threads=7).id == cell().id


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=3))
def test_settings_can_be_read_back_from_an_id(settings):
    parts = cell(settings=settings).id.removeprefix(PLAIN).split("/")[1:]
    pairs = [part.split("=") for part in parts]
    assert {unquote(key): unquote(value) for key, value in pairs} == settings


def test_a_cell_trains_unless_it_exports():
    assert cell().trains
    assert not cell(workload="export", format="native").trains


WORDS = st.text(string.ascii_lowercase, min_size=1, max_size=5)
COUNTS = st.integers(1, 9)
CELLS = st.builds(
    cell,
    backend=WORDS,
    dims=st.sampled_from([CNN, ENCODER, DECODER])
    | st.builds(
        CnnDims,
        image=COUNTS,
        channels=COUNTS,
        classes=COUNTS,
        stem=WORDS,
        widths=st.lists(COUNTS).map(tuple),
        blocks=st.lists(COUNTS).map(tuple),
        bottleneck=st.booleans(),
    ),
    optimizer=st.builds(Optimizer, name=WORDS, lr=st.floats(0, 1), eps=st.floats(0, 1)),
    batch=COUNTS,
    world_size=COUNTS,
    threads=COUNTS,
    format=st.sampled_from(["", "onnx", "native"]),
    compile_cache=st.sampled_from(["cold", "warm"]),
    settings=st.dictionaries(WORDS, st.text()),
)


@given(CELLS)
def test_a_cell_survives_json(given_cell):
    text = json.dumps(given_cell.to_json())
    back = Cell.from_json(json.loads(text))
    assert back == given_cell
    assert back.id == given_cell.id
    assert isinstance(back.dims, type(given_cell.dims))


def test_reading_a_cell_leaves_its_json_alone():
    value = cell().to_json()
    kept = json.dumps(value)
    Cell.from_json(value)
    assert json.dumps(value) == kept


@pytest.mark.parametrize("wrong", [{"colour": "red"}, {"batch": ...}])
def test_a_cell_with_other_fields_is_refused(wrong):
    value = cell().to_json() | wrong
    value = {key: item for key, item in value.items() if item is not ...}
    with pytest.raises(TypeError):
        Cell.from_json(value)


def test_what_a_program_does_not_have_is_unsupported():
    program = Program()
    for ask in (program.train_step, program.loss, lambda: program.infer(3), program.logits):
        with pytest.raises(Unsupported, match="only"):
            ask()
    program.wait()
    program.close()


def test_the_defaults_of_an_adapter():
    assert contract.one_process(cell(), HERE) == []
    assert contract.no_device_bytes(cell()) is None


@pytest.mark.parametrize("kind", [contract.Unsupported, contract.ParityError])
def test_answers_are_errors_with_a_message_for_the_user(kind):
    assert issubclass(kind, BenchError)
    assert str(kind("bfloat16 has no CPU kernel")) == "bfloat16 has no CPU kernel"
