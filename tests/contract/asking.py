"""Runs checks of an adapter in its own environment, from a pytest that has no framework."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.registry import BACKENDS
from bench import envs, scratch
from bench.contract import Cell
from bench.grid import choose
from bench.options import DEFAULT_BACKENDS
from workloads import catalogue

ROOT = Path(__file__).resolve().parents[2]
DRIVER = Path(__file__).with_name("driver.py")
# One: with more, OpenMP threads wait for each other wherever the machine has something else to do.
THREADS = 1

Result = dict[str, Any]


def selected() -> list[str]:
    """$BENCH_BACKENDS: a comma list or ``all``; unset, the usual ones."""
    named = os.environ.get("BENCH_BACKENDS") or ",".join(DEFAULT_BACKENDS)
    return choose("backend", named, BACKENDS)


def training() -> list[Any]:
    """Those of the selected that train, as a test's parameters."""
    names = [name for name in selected() if BACKENDS[name].trains]
    return [pytest.param(name, marks=pytest.mark.backend(name)) for name in names]


@functools.cache
def python(backend: str) -> Path:
    """The backend's interpreter; its environment is built if it is not there."""
    return envs.resolve(backend, "cpu", pythons={}, log=print).python


# Read before a test's own environment hides the user's interpreters (tests/conftest.py).
for _backend in selected():
    if f"BENCH_PYTHON_{_backend.upper()}" in os.environ:
        python(_backend)


def run_tiny(backend: str, *arguments: str, out: Path) -> subprocess.CompletedProcess[str]:
    """``bench run`` at tiny on the CPU, once, in the environment that the tests use."""
    asked = ["--backend", backend, "--size", "tiny", "--device", "cpu", *arguments]
    own = ["--python", f"{backend}={python(backend)}", "--repeats", "1", "--out", str(out)]
    return subprocess.run(
        [sys.executable, "-m", "bench", "run", *asked, *own],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def cell(backend: str, model: str, **changes: Any) -> Cell:
    """The tiny cell of a model that trains; ``format=...`` makes it one that exports."""
    spec, home = catalogue.of_model(model, "tiny"), catalogue.REFERENCE.home(model)
    made = Cell(
        backend=backend,
        workload="export" if changes.get("format") else home,
        model=model,
        size="tiny",
        device="cpu",
        precision="fp32",
        mode=BACKENDS[backend].modes[0],
        track="out-of-box",
        batch=1 if changes.get("format") else spec.batch,
        dims=spec.dims,
        optimizer=spec.optimizer,
        threads=THREADS,
    )
    return replace(made, **changes)


def _environment(backend: str, settings: Mapping[str, str], *, folder: Path) -> dict[str, str]:
    """What a worker's environment has of the backend's own variables, of threads and caches."""
    entry = BACKENDS[backend]
    threads = dict.fromkeys(scratch.THREADS, str(THREADS))
    carried = {
        entry.setting_env[key]: settings[key] for key in settings if key in entry.setting_env
    }
    caches = {name: str(folder / name.lower()) for name in entry.cache_dirs}
    # Tuned variables too: without them MindSpore's convolutions take 100 times as long.
    theirs = {**entry.env, **entry.tuned_env}
    return {**os.environ, **threads, **caches, **theirs, **carried, "PYTHONPATH": str(ROOT)}


def in_environment(backend: str, task: dict[str, Any], *, folder: Path) -> Result:
    """Run the driver under the backend's interpreter, in a scratch folder."""
    given, answer = folder / "task.json", folder / "result.json"
    given.write_text(json.dumps(task), encoding="utf-8")
    answer.unlink(missing_ok=True)
    ran = subprocess.run(
        [python(backend), DRIVER, given, answer],
        cwd=folder,
        env=_environment(backend, task["cell"]["settings"], folder=folder),
        capture_output=True,
        text=True,
        check=False,
    )
    sys.stdout.write(ran.stdout[-4000:] + ran.stderr[-8000:])
    assert ran.returncode == 0, f"{task['check']} failed under {backend}: see its output"
    result: Result = json.loads(answer.read_text(encoding="utf-8"))
    return result
