"""Runs checks of an adapter in its own environment, from a pytest that has no framework."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from backends.registry import BACKENDS
from bench import envs
from bench.child import scratch
from bench.contract import Cell
from bench.grid import choose
from bench.options import DEFAULT_BACKENDS
from workloads import catalogue, prepare

ROOT = Path(__file__).resolve().parents[2]
DRIVER = Path(__file__).with_name("driver.py")
# One: with more, OpenMP threads wait for each other wherever the machine has something else to do.
THREADS = 1
DRIVERS = 2
"""At once, in each of pytest's processes: who writes a file, and who reads it."""

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
    """``bench run`` at tiny on a CPU, once, by one thread, in the tests' own environment."""
    fixed = ["--size", "tiny", "--device", "cpu", "--threads", str(THREADS)]
    asked = ["--backend", backend, *fixed, *arguments]
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


@dataclass(frozen=True)
class Question:
    """One check of driver.py. cells: what it needs beside ``cell``. reader: who is asked, if it is
    not the cell's backend. folder: where exported files lie.
    """

    check: str
    cell: Cell
    folder: Path
    cells: Mapping[str, Cell] = field(default_factory=dict)
    reader: str = ""

    @property
    def backend(self) -> str:
        return self.reader or self.cell.backend

    def to_json(self) -> dict[str, Any]:
        prepared = prepare.ensure(self.cell.model, "tiny")
        weights = prepared.weights if self.cell.trains else prepared.export_weights
        return {
            "module": BACKENDS[self.backend].module,
            "capabilities": BACKENDS[self.backend].capabilities,
            "generates": BACKENDS[self.backend].generates,
            "check": self.check,
            "cell": self.cell.to_json(),
            "cells": {name: one.to_json() for name, one in self.cells.items()},
            "files": {
                "weights": str(weights),
                "data": str(prepared.data),
                "trace": str(prepared.trace),
                "folder": str(self.folder / "exported"),
                "logits": str(self.folder / "logits.npz"),
            },
        }


class Driver:
    """driver.py under one backend's interpreter. It answers until its standard input is closed:
    some frameworks take longer to import than to answer.
    """

    def __init__(self, backend: str, settings: Mapping[str, str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bench-asked-"))
        self._said = (self.folder / "said").open("w+b")
        ready, answered = os.pipe()
        self._ready = os.fdopen(ready, "rb", buffering=0)
        self._process = subprocess.Popen(
            [python(backend), DRIVER, str(answered)],
            cwd=self.folder,
            env=_environment(backend, settings, folder=self.folder),
            pass_fds=[answered],
            stdin=subprocess.PIPE,
            stdout=self._said,
            stderr=subprocess.STDOUT,
        )
        os.close(answered)

    def ask(self, given: Path, answered: Path) -> bool:
        """Whether there are answers; what was printed meanwhile is printed here."""
        assert self._process.stdin is not None
        before = self._said.seek(0, os.SEEK_END)
        self._process.stdin.write(f"{json.dumps([str(given), str(answered)])}\n".encode())
        self._process.stdin.flush()
        done = bool(self._ready.read(1))
        self._said.seek(before)
        sys.stdout.write(self._said.read().decode("utf-8", "replace")[-8000:])
        return done

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._ready.close()
        self._said.close()
        shutil.rmtree(self.folder, ignore_errors=True)


_drivers: dict[tuple[str, str], Driver] = {}
"""Of a backend and what its variables carry; the last asked is the last."""


def close_drivers(*, keep: int = 0) -> None:
    while len(_drivers) > keep:
        _drivers.pop(next(iter(_drivers))).close()


def _driver(backend: str, settings: Mapping[str, str]) -> Driver:
    carried = {key: settings[key] for key in settings if key in BACKENDS[backend].setting_env}
    key = (backend, json.dumps(carried, sort_keys=True))
    found = _drivers.pop(key, None)
    close_drivers(keep=DRIVERS - 1)
    _drivers[key] = found or Driver(backend, settings)
    return _drivers[key]


def answers(questions: Mapping[str, Question], *, scratch: Path) -> dict[str, Result]:
    """To all questions, in their order, from one process of the backend that they are put to."""
    (backend,) = {one.backend for one in questions.values()}
    for one in questions.values():
        one.folder.mkdir(parents=True, exist_ok=True)
    given, answered = scratch / "tasks.json", scratch / "results.json"
    given.write_text(json.dumps({name: one.to_json() for name, one in questions.items()}))
    driver = _driver(backend, next(iter(questions.values())).cell.settings)
    if not driver.ask(given, answered):
        close_drivers()
        pytest.fail(f"{', '.join(questions)} ended {backend}'s process: see its output")
    found: dict[str, Result] = json.loads(answered.read_text(encoding="utf-8"))
    return found


def fine(result: Result) -> Result:
    """An answer; the test fails where the check has raised."""
    assert "raised" not in result, result["raised"]
    return result
