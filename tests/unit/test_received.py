"""What a worker sends is believed only where it makes sense, whatever the bytes are."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.child import received
from bench.child.pipes import LONGEST, Pipes, TooLong
from bench.child.received import Unbelievable

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["status", "reason", "block_ns", "row", "x"]), inner)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("do", "line"),
    [
        ("run", b"noise"),
        ("run", b"\xff\xfe"),
        ("run", b"[1]"),
        ("run", b"{}"),
        ("run", b'{"block_ns": [1, -1]}'),
        ("run", b'{"block_ns": [true]}'),
        ("run", b'{"status": "fine", "reason": "x"}'),
        ("run", b'{"status": "failed"}'),
        ("warm_up", b'{"block_steps": 0, "block_ns": 5}'),
        ("warm_up", b'{"block_steps": 1, "block_ns": NaN}'),
        ("warm_up", b'{"block_steps": 1, "block_ns": Infinity}'),
        ("start", b"[" * 100_000),
    ],
)
def test_answers_that_are_none(do, line):
    with pytest.raises(Unbelievable, match=f"^{do}: the worker's answer"):
        received.answer(do, line, role="train")


def test_answers_as_workers_give_them():
    assert received.answer("start", b"{}", role="train") == {}
    assert received.answer("run", b'{"block_ns": [5, 6]}', role="train") == {"block_ns": [5, 6]}
    warm = {"block_steps": 3, "block_ns": 5.5}  # a median
    assert received.answer("warm_up", json.dumps(warm).encode(), role="train") == warm
    said = {"status": "oom", "reason": "build: no memory"}
    assert received.answer("build", json.dumps(said).encode(), role="train") == said
    # What a model file under load answers is read by the command that asked.
    assert received.answer("run", b'{"latencies": 1}', role="infer") == {"latencies": 1}


@pytest.mark.parametrize(
    "held",
    [
        b"",
        b"{",
        b"[]",
        b'{"row": {}}',
        b'{"row": [], "times": {}}',
        b'{"row": {"status": "ok"}, "times": {}}',
        b'{"row": {"cell_id": "another"}, "times": {}}',
        b'{"row": {"run_id": "another"}, "times": {}}',
        b'{"row": {"samples_per_s": "fast"}, "times": {}}',
        b'{"row": {"steps": true}, "times": {}}',
        b'{"row": {"no_such_column": 1}, "times": {}}',
        b'{"row": {}, "times": {"block_ns": "x"}}',
    ],
)
def test_row_files_that_are_none(tmp_path, held):
    path = tmp_path / "row.json"
    path.write_bytes(held)
    with pytest.raises(Unbelievable, match="the worker's row file"):
        received.row(path)


def test_a_row_file_that_is_one_or_is_not_there(tmp_path):
    path = tmp_path / "row.json"
    assert received.row(path) == ({}, {})
    saved = {"row": {"samples_per_s": 3, "settings": {"a": [1]}}, "times": {"block_ns": [1]}}
    path.write_text(json.dumps(saved))
    assert received.row(path) == (saved["row"], saved["times"])


@given(st.sampled_from(["start", "run", "warm_up", "climb"]), st.binary(max_size=40) | JSON)
@settings(max_examples=2000, deadline=None)
def test_any_answer_is_an_object_or_a_reason(do, found):
    line = found if isinstance(found, bytes) else json.dumps(found).encode()
    said = reason(lambda: received.answer(do, line, role="train"))
    assert isinstance(said, dict) or said.startswith(do)


@given(st.binary(max_size=40) | JSON | st.builds(lambda row: {"row": row, "times": {}}, JSON))
@settings(max_examples=2000, deadline=None)
def test_any_row_file_is_a_row_or_a_reason(tmp_path_factory, found):
    path = tmp_path_factory.getbasetemp() / "row.json"
    path.write_bytes(found if isinstance(found, bytes) else json.dumps(found).encode())
    said = reason(lambda: received.row(path))
    assert isinstance(said, tuple) or said.startswith("the worker's row file")


def reason(ask: Callable[[], object]) -> object:
    """What is answered, or the words of the one error that may be raised."""
    try:
        return ask()
    except Unbelievable as error:
        return str(error)


def test_an_answer_without_an_end_is_ended(tmp_path, monkeypatch):
    pipes = Pipes(tmp_path / "commands", tmp_path / "replies")
    try:
        monkeypatch.setattr("bench.child.pipes.read", lambda _: b"x" * (LONGEST // 4 + 1))
        for _ in range(3):
            pipes.receive()
        with pytest.raises(TooLong):
            pipes.receive()
    finally:
        pipes.close()
