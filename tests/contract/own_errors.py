"""Under torch's interpreter: what the reference says of each module of a folder that is wrong.

``python own_errors.py FOLDER ANSWER.json``; the file ANSWER is module -> message, "" for none.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from backends.torch import own_reference
from bench.contract import BenchError, Optimizer
from bench.dims import ModuleDims
from workloads import SizeSpec
from workloads.own import sources


def spec(folder: Path, module: str) -> SizeSpec:
    dims = ModuleDims(f"{module}:make", str(folder), sources.digest(folder, module))
    run = {"steps_min": 1, "measure_s": 0.1, "warmup_cap": 1, "deadline_s": 60.0}
    network = {"quality_steps": 0, "quality_lr": 0.0, "data": "noise", "weights": "seeded"}
    return SizeSpec(
        **run,
        **network,
        estimate_s=1.0,
        memory_mib=1000,
        batch=4,
        target=0.0,
        dims=dims,
        optimizer=Optimizer("sgd", lr=0.001),
    )


def said(folder: Path, module: str) -> str:
    asked = spec(folder, module)
    assert isinstance(asked.dims, ModuleDims)
    try:
        trace = own_reference.make(asked, asked.dims, out=folder)
    except BenchError as error:
        return str(error)
    return f"flops {trace['flops_per_sample']}, parameters {trace['param_count']}"


if __name__ == "__main__":
    where, answer = map(Path, sys.argv[1:])
    names = sorted(path.stem for path in where.glob("*.py"))
    answer.write_text(json.dumps({name: said(where, name) for name in names}), encoding="utf-8")
