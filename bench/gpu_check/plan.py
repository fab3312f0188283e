"""What is checked, part by part, as data; and the cells that each check needs.

A part ends when its minutes are spent: what it had no time for is said to be skipped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench import backends_index, grid, options
from bench.child import preallocation
from bench.errors import UsageError
from bench.gpu_check.judges import GRAPHS
from bench.grid import Task
from bench.trials import MEMORY, PARITY, TRIAL, WAIT
from workloads import catalogue

MINUTES = {1: 6.0, 2: 6.0, 3: 6.0, 4: 6.0}
"""Of each part, after its environments and data are there. No cell is started behind them, and one
that was started has CELL_S: so no part takes more than 9."""

CELL_S = 180.0
MEASURE_S = 1.0  # of a cell's timed blocks: enough to read its energy, not to compare it

TINY, ASKED = "tiny", ""
WORKLOADS = ("cnn", "transformer", "export")


@dataclass(frozen=True)
class Check:
    """name: how it is printed. trial: its kind, "" for cells that are measured. size: ``ASKED`` is
    the one of ``--size``. only_at: sizes asked for at which it makes sense; () for any. setting:
    ``key=value``, for the backends that know the key.
    """

    name: str
    part: int
    trial: str = ""
    workload: str = "cnn"
    size: str = TINY
    precision: str = "fp32"
    mode: str = "default"
    track: str = "out-of-box"
    only_at: tuple[str, ...] = ()
    setting: str = ""


PLAN = (
    Check("wait blocks", 1, trial=WAIT),
    Check("memory is counted", 1, trial=MEMORY),
    Check("compiled", 1, mode="compiled"),
    Check(GRAPHS, 1, mode="compiled", setting="cuda_graphs=on"),
    Check("parity", 2, PARITY, workload="cnn,transformer", precision="fp32,tf32,bf16,fp16"),
    Check("speed", 3, workload="cnn,transformer,export", size=ASKED, precision="bf16"),
    Check(
        *("large", 3),
        workload="transformer",
        size="large",
        precision="bf16",
        track="tuned",
        only_at=("base", "large"),
    ),
    Check("speed", 4, workload="cnn,transformer,export", size=ASKED),
)


@dataclass(frozen=True)
class Planned:
    """A check with its cells; ``refused``: why it has none."""

    check: Check
    tasks: Sequence[Task]
    refused: str = ""


def planned(arguments: argparse.Namespace, parts: Sequence[int]) -> list[Planned]:
    """The checks of the parts that were asked for; a size that is not there yet has no cells."""
    return [_planned(check, arguments) for check in PLAN if check.part in parts]


def _planned(check: Check, arguments: argparse.Namespace) -> Planned:
    if check.only_at and arguments.size not in check.only_at:
        return Planned(check, (), f"only with --size {' or '.join(check.only_at)}")
    if not (names := _workloads(check, arguments.workload)):
        return Planned(check, (), f"not for --workload {arguments.workload}")
    if not (able := _able(check, arguments)):
        return Planned(check, (), f"no backend of {arguments.backend} has {check.setting}")
    request = _request(check, arguments, workload=",".join(names), backend=",".join(able))
    try:
        tasks = grid.plan(request, entry=backends_index.find)
    except UsageError as error:
        return Planned(check, (), str(error))
    return Planned(check, [_task(check, task) for task in tasks])


def _workloads(check: Check, asked: str) -> list[str]:
    """Of the check's those that were asked for."""
    mine = check.workload.split(",")
    return [name for name in mine if name in grid.choose("workload", asked, WORKLOADS)]


def _able(check: Check, arguments: argparse.Namespace) -> list[str]:
    """Of the backends that were asked for those that know the check's setting."""
    asked = grid.choose("backend", arguments.backend, backends_index.names())
    key = check.setting.partition("=")[0]
    return [name for name in asked if not key or key in backends_index.find(name).settings]


def _request(
    check: Check, arguments: argparse.Namespace, *, workload: str, backend: str
) -> grid.Request:
    """As ``bench run`` would make it from the same words."""
    own = {
        "workload": workload,
        "backend": backend,
        "setting": [*arguments.setting, *filter(None, (check.setting,))],
        "size": check.size or arguments.size,
        "precision": check.precision,
        "mode": check.mode,
        "track": check.track,
    }
    fixed = {
        "format": "onnx",
        "compile": "cold",
        "batch": None,
        "world_size": "1",
        "capability": "all",
        "repeats": 1,
        "threads": None,
        "nodes": 1,
        "catalogue": catalogue.REFERENCE,
    }
    asked = argparse.Namespace(**{**vars(arguments), **fixed, **own})
    return options.request(asked, say=lambda _: None)


def _task(check: Check, task: Task) -> Task:
    """A trial where the check is one; what is measured is measured shortly."""
    cell, spec = task.cell, task.spec
    if check.trial:
        if check.trial == MEMORY and preallocation.pools(cell, backends_index.find(cell.backend)):
            cell = preallocation.without(cell)  # of a pool nothing is seen to grow
        cell = replace(cell, settings={**cell.settings, TRIAL: check.trial})
    return replace(task, cell=cell, spec=replace(spec, measure_s=min(spec.measure_s, MEASURE_S)))
