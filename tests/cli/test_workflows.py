"""The CI workflows: actionlint finds nothing wrong, and every line that they run does run."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.harness import ROOT

WORKFLOWS = ROOT / ".github" / "workflows"
RUN = re.compile(r"^ +(?:- )?run: (?P<line>.*)$", re.MULTILINE)
ACTIONLINT = (str(ROOT / ".venv" / "bin" / "actionlint"), "-no-color", "-shellcheck=", "-pyflakes=")
NIGHT = {"BACKEND": "onnxruntime", "DEVICE": "cpu", "SIZE": "tiny"}


def lines(name: str) -> list[str]:
    """What a workflow runs: one line each, so that all of it can be seen and tried."""
    return [found["line"] for found in RUN.finditer((WORKFLOWS / name).read_text())]


def lint(*files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ACTIONLINT, *files], capture_output=True, text=True, check=False)


def test_actionlint_finds_nothing():
    files = sorted(WORKFLOWS.glob("*.yml"))
    assert [file.name for file in files] == ["nightly.yml", "test.yml"]
    done = lint(*files)
    assert (done.returncode, done.stdout) == (0, "")


def test_actionlint_finds_a_wrong_key(tmp_path):
    wrong = tmp_path / "wrong.yml"
    wrong.write_text((WORKFLOWS / "test.yml").read_text().replace("runs-on:", "runs-under:"))
    done = lint(wrong)
    assert done.returncode == 1
    assert "runs-under" in done.stdout


@pytest.mark.parametrize("name", ["nightly.yml", "test.yml"])
def test_no_line_hides_from_these_tests(name):
    text = (WORKFLOWS / name).read_text()
    assert len(lines(name)) == text.count("run:")
    assert not [line for line in lines(name) if line.startswith(("|", ">"))]


def test_the_lines_of_the_tests_are_those_that_check_every_commit():
    checked = (ROOT / ".ci" / "run").read_text().splitlines()
    for line in lines("test.yml"):
        assert any(one == line or one.startswith(f"{line} ") for one in checked), line


def test_the_lines_of_a_night(tmp_path):
    """In order, by the shell that runners use, in a checkout whose nights are elsewhere."""
    for name in ("Makefile", ".venv", "locks", "bench", "backends", "workloads"):
        (tmp_path / name).symlink_to(ROOT / name)
    summary = tmp_path / "summary.md"
    for line in lines("nightly.yml"):
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", line],
            cwd=tmp_path,
            env={**os.environ, **NIGHT, "GITHUB_STEP_SUMMARY": str(summary)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    (night,) = (tmp_path / "nights").glob("*.csv")
    assert f"Night {night.stem}" in summary.read_text()
    assert "first night" in summary.read_text()
