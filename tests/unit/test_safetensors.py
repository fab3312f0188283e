"""Weight files: written by the reference implementation, and damaged in every way."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from bench import safetensors
from bench.contract import BenchError
from bench.safetensors import WeightsError

KINDS = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "?")
SHAPES = ((), (0,), (1,), (7,), (2, 0, 3), (3, 5), (1, 2, 3, 4))
F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def some(kind, shape):
    """0, 1, 0, 1, ... which every type can hold."""
    return (np.arange(np.prod(shape, dtype=int)) % 2).astype(kind).reshape(shape)


def file_of(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "weights.safetensors"
        path.write_bytes(content)
        return path

    return write


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One path for all examples of a property."""
    return tmp_path_factory.mktemp("weights") / "example.safetensors"


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_reference_implementation_writes_is_read(tmp_path, kind):
    tensors = {f"{kind}{shape}": some(kind, shape) for shape in SHAPES}
    save_file(tensors, tmp_path / "all", metadata={"format": "np"})
    found = safetensors.read(tmp_path / "all")
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        np.testing.assert_array_equal(found[name], tensor)


def test_a_file_may_hold_empty_tensors_only_or_none(tmp_path):
    save_file({"empty": some("f4", (0, 3))}, tmp_path / "one")
    assert safetensors.read(tmp_path / "one")["empty"].shape == (0, 3)
    save_file({}, tmp_path / "none")
    assert safetensors.read(tmp_path / "none") == {}


NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__")
TENSORS = st.dictionaries(
    NAMES, st.builds(some, st.sampled_from(KINDS), st.sampled_from(SHAPES)), max_size=6
)


@settings(max_examples=30, deadline=None)
@given(TENSORS)
def test_any_mixture_is_read_back(place, tensors):
    save_file(tensors, place)
    found = safetensors.read(place)
    assert {name: (a.dtype, a.shape, a.tobytes()) for name, a in found.items()} == {
        name: (a.dtype, a.shape, a.tobytes()) for name, a in tensors.items()
    }


def test_bytes_at_odd_places_are_read_as_aligned_arrays(written):
    # One byte before the floats, and a header of a length that is no multiple of 4.
    header = {
        "byte": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "floats": {"dtype": "F32", "shape": [2], "data_offsets": [1, 9]},
    }
    for padding in range(4):
        text = json.dumps(header).encode() + b" " * padding
        found = safetensors.read(written(file_of(text, b"\x05" + struct.pack("<2f", 1.5, -2.0))))
        assert found["byte"].tolist() == [5]
        assert found["floats"].tolist() == [1.5, -2.0]
        assert found["floats"].flags.aligned


def test_arrays_are_aligned_and_cannot_be_written_to(written):
    header = {"byte": {"dtype": "U8", "shape": [1], "data_offsets": [8, 9]}, "floats": F32}
    for padding in range(4):  # with three of these headers the floats have to be copied
        text = json.dumps(header).encode() + b" " * padding
        for array in safetensors.read(written(file_of(text, bytes(9)))).values():
            assert array.flags.aligned
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1


def refused(path):
    """The message with which a file is refused; any other error fails the test."""
    with pytest.raises(WeightsError) as caught:
        safetensors.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
    return message


def changed(**changes):
    return {"a": F32 | changes}


def two(first, second):
    """Two tensors of bytes at the given offsets."""
    return {
        name: {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]}
        for name, (start, end) in {"a": first, "b": second}.items()
    }


SIZE = "does not have the size that its shape needs"
ENTRY = "has no valid entry"
DAMAGED = {
    "empty": (b"", "cannot be read"),
    "seven bytes": (bytes(7), "its header does not fit into it"),
    "a header longer than the file": (file_of({}, b"")[:-1], "its header does not fit into it"),
    "a header longer than anything": (b"\xff" * 64, "its header does not fit into it"),
    "no JSON": (file_of(b"{weights}"), "header: "),
    "no text": (file_of(b"\xff\xfe\xff"), "header: "),
    "half a header": (file_of(b'{"a": {"dtype": "F32"'), "header: "),
    "JSON without end": (file_of(b"[" * 100_000), "header: "),
    "a list": (file_of([1, 2]), "its header is not an object"),
    "null": (file_of(None), "its header is not an object"),
    "an entry that is null": (file_of({"a": None}), ENTRY),
    "an entry that is a text": (file_of({"a": "F32"}), ENTRY),
    "no dtype": (file_of({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)), ENTRY),
    "one offset": (file_of(changed(data_offsets=[8]), bytes(8)), ENTRY),
    "three offsets": (file_of(changed(data_offsets=[0, 4, 8]), bytes(8)), ENTRY),
    "offsets below zero": (file_of(changed(data_offsets=[-8, 0]), bytes(8)), ENTRY),
    "offsets that are floats": (file_of(changed(data_offsets=[0.0, 8.0]), bytes(8)), ENTRY),
    "an endless shape": (file_of(changed(shape=[float("inf")]), bytes(8)), ENTRY),
    "a shape below zero": (file_of(changed(shape=[-2]), bytes(8)), ENTRY),
    "a shape that is a text": (file_of(changed(shape="2"), bytes(8)), ENTRY),
    "a shape of truths": (file_of(changed(shape=[True, 2]), bytes(8)), ENTRY),
    "a shape that needs more": (file_of(changed(shape=[3]), bytes(8)), SIZE),
    "a shape that needs all memory": (file_of(changed(shape=[10**20]), bytes(8)), SIZE),
    "offsets that go backwards": (file_of(changed(data_offsets=[8, 0]), bytes(8)), SIZE),
    "65 dimensions": (file_of(changed(shape=[1] * 64 + [2]), bytes(8)), "an impossible shape"),
    "a dimension without end": (
        file_of(changed(shape=[0, 10**30], data_offsets=[0, 0])),
        "an impossible shape",
    ),
    "cut short": (file_of(changed(), bytes(7)), "lies outside the file (is it cut short?)"),
    "without data": (file_of(changed()), "lies outside the file (is it cut short?)"),
    "far outside": (
        file_of(changed(data_offsets=[10**30, 10**30 + 8]), bytes(8)),
        "lies outside the file (is it cut short?)",
    ),
    "one within another": (
        file_of(two((0, 4), (1, 3)), bytes(4)),
        "overlap or leave a gap at byte 1",
    ),
    "the same bytes twice": (
        file_of(two((0, 4), (0, 4)), bytes(4)),
        "overlap or leave a gap at byte 0",
    ),
    "an overlap": (file_of(two((0, 4), (3, 6)), bytes(6)), "overlap or leave a gap at byte 3"),
    "a gap": (file_of(two((0, 4), (5, 6)), bytes(6)), "overlap or leave a gap at byte 4"),
    "a gap at the start": (file_of(two((1, 4), (4, 6)), bytes(6)), "leave a gap at byte 0"),
    "bytes that nobody claims": (file_of(changed(), bytes(11)), "3 bytes after its tensors"),
    "another type": (
        file_of({"a": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}, bytes(8)),
        "tensor 'a' has dtype 'BF16'; convert it to F32 first",
    ),
    "a type of two lines": (file_of(changed(dtype="F\n32"), bytes(8)), "has dtype 'F\\n32'"),
    "a type that is a list": (file_of(changed(dtype=["F32"]), bytes(8)), "has dtype ['F32']"),
    "a name of two lines": (file_of({"a\nb": {}}), "tensor 'a\\nb' has no valid entry"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_file_is_refused_in_one_line(written, what):
    content, message = DAMAGED[what]
    assert message in refused(written(content))


def test_what_is_no_file_is_refused(tmp_path):
    assert "No such file" in refused(tmp_path / "missing")
    assert "Is a directory" in refused(tmp_path)


def test_a_refusal_is_an_error_for_the_user():
    assert issubclass(WeightsError, BenchError)
    assert issubclass(WeightsError, ValueError)


def whole():
    """A good file of two tensors, some 150 bytes."""
    header = {"a": F32, "b": {"dtype": "I16", "shape": [1, 2], "data_offsets": [8, 12]}}
    return file_of(header, bytes(range(12)))


def test_a_file_cut_short_anywhere_is_refused(written):
    assert set(safetensors.read(written(whole()))) == {"a", "b"}
    for length in range(len(whole())):
        refused(written(whole()[:length]))


def read_or_refuse(path, content):
    path.write_bytes(content)
    try:
        found = safetensors.read(path)
    except WeightsError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  it need not be raised
    else:
        assert all(isinstance(array.tobytes(), bytes) for array in found.values())


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(place, content):
    read_or_refuse(place, content)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(whole()) - 1), st.integers(0, 255)), max_size=4))
def test_any_changed_bytes_are_read_or_refused(place, changes):
    content = bytearray(whole())
    for at, byte in changes:
        content[at] = byte
    read_or_refuse(place, bytes(content))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "U8", "BF16"]) | JSON,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | JSON,
        "data_offsets": st.lists(st.integers(-1, 12), min_size=2, max_size=2) | JSON,
    }
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=4), ENTRIES | JSON, max_size=2), st.integers(0, 12))
def test_any_header_is_read_or_refused(place, header, length):
    read_or_refuse(place, file_of(header, bytes(length)))
