"""Bills of materials: licences as packages declare them, and a document that keeps its schema."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from bench.cli import main
from bench.provenance import installed
from bench.provenance.installed import Package


def declared(**given: object) -> str:
    return installed._licence({"expression": None, "licence": None, "classifiers": [], **given})


def test_an_expression_counts_more_than_classifiers_and_these_more_than_text():
    classifiers = ["License :: OSI Approved :: MIT License", "Programming Language :: Python"]
    assert declared(expression="MIT", classifiers=classifiers, licence="x") == "MIT"
    assert declared(classifiers=classifiers, licence="x") == "MIT License"
    assert declared(licence="BSD 3-Clause\n\nCopyright ...") == "BSD 3-Clause"
    assert declared(licence="UNKNOWN") == ""
    assert declared(classifiers=["License :: OSI Approved"], licence="Apache 2.0") == "Apache 2.0"
    assert len(declared(licence="word " * 1000)) == installed.LONGEST


@pytest.mark.parametrize(
    ("licence", "doubt"),
    [
        ("", "unknown"),
        ("MIT", ""),
        ("Apache Software License", ""),
        ("GPL-3.0-or-later", "copyleft"),
        ("GNU Lesser General Public License v3 (LGPLv3)", "copyleft"),
        ("MPL-2.0 AND MIT", "copyleft"),
        ("AGPL-3.0-only", "copyleft"),
        ("BSD-3-Clause", ""),
    ],
)
def test_what_somebody_should_look_at(licence, doubt):
    assert Package("a", "1", licence).doubt == doubt


def test_the_bill_of_an_environment_of_the_site_s(tmp_path, capsys):
    out = tmp_path / "sbom.json"
    brought = f"torch={sys.executable}"
    assert main(["sbom", "torch", "--python", brought, "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    by_name = {one["name"]: one for one in found["components"]}
    assert by_name["numpy"]["version"] == np.__version__
    assert by_name["numpy"]["purl"] == f"pkg:pypi/numpy@{np.__version__}"
    assert by_name["numpy"]["licenses"]
    assert found["metadata"]["component"]["name"] == "torch-cpu"
    said = capsys.readouterr().err
    assert f"written: {out}, {len(by_name)} packages" in said
    kinds = {line.partition(":")[0] for line in said.splitlines()}
    assert kinds <= {"copyleft", "unknown", "written"}


def test_what_is_wrong_is_one_line(tmp_path, capsys):
    assert main(["sbom", "trch"]) == 2
    assert "did you mean 'torch'" in capsys.readouterr().err
    brought = f"torch={sys.executable}"
    missing = tmp_path / "no" / "x.json"
    assert main(["sbom", "torch", "--python", brought, "--out", str(missing)]) == 2
    assert f"cannot write {missing}" in capsys.readouterr().err
