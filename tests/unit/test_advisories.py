"""Advisories in OSV form: which hold for a lock, and what is said of files that are none."""

from __future__ import annotations

import json

import pytest

from bench.cli import main
from bench.errors import UsageError
from bench.score import advisories, supply


def advisory(name: str, *, events=(), versions=(), **more) -> dict:
    ranges = [{"type": "ECOSYSTEM", "events": list(events)}] if events else []
    package = {"ecosystem": "PyPI", "name": name}
    affected = [{"package": package, "ranges": ranges, "versions": list(versions)}]
    return {"id": "X-1", "modified": "2026-10-01T00:00:00Z", "affected": affected, **more}


RANGE = ({"introduced": "1.0"}, {"fixed": "2.0"}, {"introduced": "3.0"}, {"last_affected": "3.5"})


@pytest.mark.parametrize(
    ("version", "held"),
    [
        ("0.9", False),
        ("1.0", True),
        ("1.9.9", True),
        ("2.0", False),
        ("3.2", True),
        ("3.5", True),
        ("3.5.1", False),
        ("1.4+cpu", True),
    ],
)
def test_ranges(version, held):
    assert advisories.holds(advisory("Some_Package", events=RANGE), "some-package", version) is held


def test_listed_versions_other_packages_and_withdrawn():
    listed = advisory("torch", versions=["2.1.0"])
    assert advisories.holds(listed, "torch", "2.1.0+cpu")
    assert not advisories.holds(listed, "torch", "2.1.1")
    assert not advisories.holds(listed, "numpy", "2.1.0")
    assert not advisories.holds({**listed, "withdrawn": "2026-01-01"}, "torch", "2.1.0")


def test_they_are_counted_for_each_lock(tmp_path):
    version = supply.packages("mxnet")["mxnet"]
    path = tmp_path / "known.json"
    path.write_text(json.dumps({"vulns": [advisory("mxnet", versions=[version])]}))
    found = {one.subject.backend: one for one in advisories.security(["mxnet", "torch"], path)}
    assert found["mxnet"].value == 1
    assert found["torch"].value == 0
    assert found["torch"].share == 1
    assert "X-1" in found["mxnet"].subject.rests_on
    assert "2026-10-01" in found["mxnet"].subject.rests_on[0]


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"id": 1, "affected": []}', "[" * 9999])
def test_what_is_no_advisory_is_one_line(text, tmp_path, capsys):
    path = tmp_path / "known.json"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        list(advisories.read(path))
    assert str(path) in str(error.value)
    assert main(["score", "--draws", "100", "--advisories", str(tmp_path / "no"), "x.csv"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
