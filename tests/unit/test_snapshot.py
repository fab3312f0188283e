"""Dated facts: what the package client says, and the sub-scores that it becomes."""

from __future__ import annotations

import csv
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import snapshot
from bench.errors import EnvError, UsageError
from bench.score import code, documents, snapshots, supply

TODAY = date(2026, 11, 23)


def index(released: list[date], monkeypatch) -> None:
    """A package index whose n-th version came on the n-th day."""

    def newest(_: str, day: date, *, python: str = "3.11") -> str | None:
        there = [f"1.{at}" for at, one in enumerate(sorted(released)) if one <= day]
        return there[-1] if there and python != "3.14" else None

    monkeypatch.setattr(snapshot, "newest", newest)


@given(st.sets(st.integers(0, 1500), min_size=1, max_size=40))
@settings(max_examples=30, deadline=None)
def test_halving_finds_the_day_and_counts_the_releases(ages):
    released = [TODAY - timedelta(days=age) for age in ages]
    with pytest.MonkeyPatch.context() as patch:
        index(released, patch)
        found = snapshot.support("b", "dist", TODAY)
    assert found["released"] == max(released).isoformat()
    assert found["releases_2y"] == sum(age < snapshot.TWO_YEARS.days for age in ages)
    assert found["newest_python"] == "3.13"


def test_an_index_out_of_reach_is_said(monkeypatch):
    index([], monkeypatch)
    with pytest.raises(EnvError, match="index in reach"):
        snapshot.support("b", "dist", TODAY)


def test_lines_of_others_stay(tmp_path):
    snapshot._write("x.csv", [{"backend": "torch", "taken": "a"}], tmp_path)
    snapshot._write("x.csv", [{"backend": "jax", "taken": "b"}], tmp_path)
    with (tmp_path / "x.csv").open() as file:
        assert [line["taken"] for line in csv.DictReader(file)] == ["b", "a"]


def test_support_becomes_sub_scores(tmp_path):
    (tmp_path / snapshots.SUPPORT).write_text(
        "taken,backend,released,releases_2y,newest_python\n2026-11-23,torch,2026-05-27,6,3.12\n"
    )
    found = {one.subject.name: one for one in snapshots.support(["torch", "mxnet"], tmp_path)[:4]}
    assert found["last release"].value == 180  # of half marks at 180 days
    assert found["last release"].share == 0.5
    assert found["releases in two years"].share == 0.5
    assert found["newest Python"].share == 0.5  # two behind 3.14
    assert found["maintained"].share == 1
    assert "2026-11-23" in found["last release"].subject.rests_on[0]
    (archived,) = snapshots.support(["mxnet"], tmp_path)
    assert archived.share == 0


def test_no_snapshot_is_no_evidence(tmp_path):
    assert snapshots.ease(["torch"], tmp_path) == []


def test_a_broken_snapshot_names_its_mend(tmp_path):
    (tmp_path / snapshots.SUPPORT).write_text(
        "taken,backend,released,releases_2y,newest_python\n2026-11-23,torch,yesterday,6,3.12\n"
    )
    with pytest.raises(UsageError, match="make snapshot"):
        snapshots.support(["torch"], tmp_path)


def test_the_committed_snapshots_have_all_ten():
    names = [one.backend for one in documents.opinions()]
    assert {one.subject.backend for one in snapshots.ease(names)} == set(names)
    dated = [one for one in snapshots.support(names) if one.subject.name == "last release"]
    assert {one.subject.backend for one in dated} == set(names)


SOURCE = '''"""Docstring."""

import numpy  # not counted

# a comment


@decorated
def train(
    model,
):
    """Another
    docstring."""
    for batch in (
        1,
        2,
    ):
        step(batch)
    return model
'''


def test_lines_of_code():
    """@decorated; def ... (3 lines); for ... (4 lines); step; return: 10."""
    assert code.lines(SOURCE) == 10


def test_borrowed_code_counts():
    found = {one.subject.backend: one for one in code.ease(["torch", "lightning", "nobody"])}
    assert found["lightning"].value > found["torch"].value
    assert "backends/torch/cnn.py" in found["lightning"].subject.rests_on
    assert "nobody" not in found


def test_a_lock_is_counted():
    found = {one.subject.name: one for one in supply.security(["deepspeed"])}
    assert found["source builds"].value == 1  # deepspeed itself
    assert found["hashed wheels"].value == found["packages"].value - 1
