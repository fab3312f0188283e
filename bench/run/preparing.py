"""The files that a pilot's cells start from, made before anything is measured. Parent half."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.child import scratch
from bench.envs import Env
from bench.errors import UsageError
from workloads import materials
from workloads.catalogue import Catalogue
from workloads.prepare import Prepared

Environment = Callable[[str, str], Env]
"""Of a backend on a device; raises EnvError."""


def of(
    known: Catalogue, environment: Environment, say: Callable[[str], None], model: str, size: str
) -> Prepared:
    """A size of the user's own has its reference made by PyTorch, whichever backends are asked.

    say: is told which of the user's samples are left out.
    """
    if size not in known.own:
        return made(model, size)
    spec = json.dumps(known.of_model(model, size).to_json())
    torch = environment("torch", "cpu").python
    found = made(model, size, "--spec", spec, "--torch", str(torch))
    left_out = found.data.with_name(materials.LEFT_OUT)
    if left_out.exists():
        say(f"{size}: {left_out.read_text(encoding='utf-8')}")
    return found


def made(model: str, size: str, *how: str) -> Prepared:
    """The workload's files, made by a process of its own: tokenising needs memory that this one,
    which stays alive beside every measurement, should not hold.
    """
    done = subprocess.run(
        [sys.executable, "-m", "workloads.prepare", model, size, *how],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(scratch.ROOT)},
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UsageError(lines[-1])
    paths: dict[str, str] = json.loads(done.stdout)
    return Prepared(**{name: Path(path) for name, path in paths.items()})
