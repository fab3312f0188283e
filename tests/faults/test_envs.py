"""A real environment, made by the real uv from the committed lock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import envs

pytestmark = pytest.mark.builds_env


def test_the_smallest_real_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_ENVS", str(tmp_path / "envs"))
    log: list[str] = []
    env = envs.ensure("onnxruntime", "cpu", log=log.append)
    said = subprocess.run(
        [env.python, "-c", "import onnxruntime, sys; print(onnxruntime.__version__, sys.prefix)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    # The version is the one that backends/locks/onnxruntime-cpu.in pins.
    assert said == ["1.32.0", str(env.python.parents[1])]
    ready = json.loads((env.python.parents[1] / "ready.json").read_text(encoding="utf-8"))
    assert ready["versions"]["onnxruntime"] == "1.32.0"
    assert any("is ready" in line for line in log)

    log.clear()
    assert envs.ensure("onnxruntime", "cpu", log=log.append) == env
    assert log == []
    kinds = {state.place: state.kind for state in envs.states()}
    assert kinds[env.python.parents[1]] == "ready"


def test_an_interpreter_can_be_brought_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The harness's own interpreter has numpy and stands for what a cluster's module provides."""
    env = envs.resolve(
        "onnxruntime", "cpu", pythons={"onnxruntime": Path(sys.executable)}, log=lambda line: None
    )
    assert env.python == Path(sys.executable)
    assert env.lock.startswith("packages:")
