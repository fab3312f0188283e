"""The figures that every backend must reproduce, made by float64 PyTorch in its own environment.

``python -m workloads.reference --torch PYTHON`` makes the committed ones anew (`make reference`):
traces below ``workloads/traces``, trained heads below ``workloads/heads``. For a spec of the user's
own they are made once for exactly its files, into the cache.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import workloads
from bench.contract import BenchError
from bench.errors import EXIT_USAGE, UsageError
from workloads import FOLDER, SizeSpec, cache, catalogue, materials, weights
from workloads.own import modules

ROOT = Path(__file__).resolve().parents[1]
TRACE, HEAD, TASK = "trace.json", "head.safetensors", "task.json"
VERSION = 2
"""Raise it when the figures come out differently; what older versions made is then not used."""


def trace_path(model: str, size: str) -> Path:
    return FOLDER / "traces" / f"{model}-{size}.json"


def head_path(model: str, size: str) -> Path:
    return FOLDER / "heads" / f"{model}-{size}.safetensors"


def ensure(model: str, size: str, spec: SizeSpec, *, made: Path, torch: Path) -> Path:
    """A folder with the trace, and the head where there is something to learn.

    made: the folder with weights and data.
    """
    facts = [VERSION, model, size, cache.sums(made), dataclasses.asdict(spec.optimizer)]
    facts += [spec.gate_batch or spec.batch, spec.learns]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]

    def fill(folder: Path) -> None:
        write(folder, model, size, spec, made=made, torch=torch)
        cache.seal(folder)

    return cache.made(cache.root() / "references" / f"{model}-{size}-{key}", fill)


def of_module(size: str, spec: SizeSpec, *, torch: Path) -> Path:
    """A folder with weights, data and trace of a PyTorch module of the user's own, whose code is
    run for it by the interpreter ``torch``.
    """
    facts = [VERSION, catalogue.digest(spec), spec.gate_batch or spec.batch]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]

    def fill(folder: Path) -> None:
        given = {"model": modules.MODEL, "size": size, "spec": spec.to_json()}
        _run("backends.torch.own_reference", folder, given, torch=torch)
        cache.seal(folder)

    return cache.made(cache.root() / "references" / f"{modules.MODEL}-{size}-{key}", fill)


def write(
    folder: Path, model: str, size: str, spec: SizeSpec, *, made: Path, torch: Path, **show: bool
) -> None:
    """Into ``folder``. UsageError with PyTorch's last words if it fails."""
    paths = {"weights": str(made / materials.WEIGHTS), "data": str(made / materials.DATA)}
    given = {"model": model, "size": size, "spec": spec.to_json(), "sums": cache.sums(made)}
    _run("backends.torch.reference", folder, given | paths, torch=torch, **show)


def _run(maker: str, folder: Path, given: dict[str, Any], *, torch: Path, **show: bool) -> None:
    """One process of PyTorch's that writes into ``folder``. maker: the module that it runs."""
    task = folder / TASK
    task.write_text(json.dumps({**given, "out": str(folder)}))
    done = subprocess.run(
        [str(torch), "-m", maker, str(task)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # ours says the paths, and a module of the user's may print
        stderr=None if show else subprocess.PIPE,
        text=True,
        check=False,
    )
    task.unlink()
    if done.returncode:
        lines = (done.stderr or "").strip().splitlines() or [f"exit code {done.returncode}"]
        what = f"{given['model']} {given['size']}"
        raise UsageError(f"the reference of {what} cannot be made: {lines[-1]}")


def commit(model: str, size: str, *, torch: Path) -> None:
    """Make the trace and the head of a reference workload anew, where they are committed."""
    spec = catalogue.of_model(model, size)
    made = materials.materials(model, size, spec)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(folder, model, size, spec, made=made, torch=torch, show=True)
        has_head = weights.has_head(model, learns=spec.learns)
        head = head_path(model, size) if has_head else None
        if head:
            head.parent.mkdir(exist_ok=True)
            shutil.copy(folder / HEAD, head)
        exported = materials.exported_weights(made, head)
        trace = json.loads((folder / TRACE).read_text(encoding="utf-8"))
        trace["export"] = {"weights_sha256": cache.sha256(exported), **trace["export"]}
        path = trace_path(model, size)
        path.parent.mkdir(exist_ok=True)
        # One line a key: full precision, and a readable diff when a trace changes.
        lines = ",\n".join(
            f"{json.dumps(key)}: {json.dumps(value)}" for key, value in trace.items()
        )
        path.write_text("{\n" + lines + "\n}\n", encoding="utf-8")
        sys.stderr.write(f"{path}\n")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch", type=Path, required=True, help="the interpreter with PyTorch")
    parser.add_argument("--model", choices=tuple(weights.HEADS), action="append")
    parser.add_argument("--size", choices=workloads.SIZES, action="append")
    asked = parser.parse_args(argv)
    try:
        for model in asked.model or weights.HEADS:
            for size in asked.size or catalogue.sizes_of(model):
                commit(model, size, torch=asked.torch)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main())
