"""``bench submit``: plan, cut into shares, hand to an engine."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from bench import backends_index, cli, grid, machine, options, pilot_options, schedule
from bench.cluster import engines
from bench.cluster.collect import open_shares
from bench.cluster.plan import COMMANDS, How, Jobs, PilotFolder, Plan, Share
from bench.errors import EXIT_OK, UsageError
from bench.run import command as run_command

REPEATS = 3
"""Where none are asked for: a share cannot see how well another's ratios are known."""
MINUTES = {"slurm": 60, "kubernetes": 60, "local": 7 * 24 * 60}
"""What a job may take; on this machine one job has all shares."""
FORMS = {
    "namespace": "a name is letters a to z, digits and hyphens, as Kubernetes has them",
    "claim": "the name of a PersistentVolumeClaim, such as team-data",
    "image": "a reference such as registry/team/pilot:1",
    "base": "a reference such as python@sha256:DIGEST",
    "mount": "a path from / on, such as /shared",
}
OF_KUBERNETES = tuple(FORMS)
OWN_PLACE = ("out", "resume", "json", "report", "find_max_batch")
"""Options of ``bench run`` that a share cannot have."""


def run(arguments: argparse.Namespace) -> int:
    if arguments.resume:
        return _resume(arguments)
    if arguments.folder is None:
        raise UsageError("say where the pilot is kept: --folder DIR, on a disk all nodes share")
    _check_dry(arguments.engine, dry=arguments.dry_run)
    folder = PilotFolder(arguments.folder)
    plan = _plan(arguments, folder)
    jobs = engines.named(plan.engine).plan([share.name for share in plan.shares], plan)
    folder.create(plan)
    return _submit(folder, plan, jobs, said=arguments.json)


def _resume(arguments: argparse.Namespace) -> int:
    if arguments.folder or arguments.run:
        raise UsageError("--resume goes on with a pilot's own folder and options: give it alone")
    folder = PilotFolder(arguments.resume)
    plan = folder.plan()
    _check_dry(plan.engine, dry=arguments.dry_run)
    # What the user starts only the user knows to have ended.
    wanted = open_shares(folder, plan, whatever_runs=arguments.dry_run)
    if not wanted:
        print("nothing is missing, or what is missing still waits or runs")
        return EXIT_OK
    jobs = engines.named(plan.engine).plan(wanted, plan)
    return _submit(folder, plan, jobs, said=arguments.json)


def _check_dry(engine: str, *, dry: bool) -> None:
    """UsageError where jobs would be started that are only written, or the other way round."""
    if engine in engines.WRITTEN and not dry:
        raise UsageError(
            f"--engine {engine} needs --dry-run: its manifests are checked against schemas, and"
            " none was ever run by bench, so you apply them"
        )
    if dry and engine not in engines.WRITTEN:
        raise UsageError(f"--dry-run is of --engine {', '.join(sorted(engines.WRITTEN))}")


def _submit(folder: PilotFolder, plan: Plan, jobs: Sequence[Sequence[str]], *, said: bool) -> int:
    engine = engines.named(plan.engine)
    python = [sys.executable, "-m", "bench.cluster.share", str(folder.path)]
    before = datetime.now(UTC)
    ids = engine.submit(
        [[*python, *job] for job in jobs], log=folder.log, how=plan.how.model_dump()
    )
    found = {name: one for job, one in zip(jobs, ids, strict=True) for name in job}
    folder.submitted(Jobs(submitted_at=before, ids=found))
    cells = sum(len(share.keys) for share in plan.shares if share.name in found)
    if said:
        print(json.dumps({"folder": str(folder.path), "jobs": found}))
        return EXIT_OK
    print(f"{cells} rows to come, in {len(found)} shares, {len(set(ids))} jobs of {plan.engine}")
    print(f"next:{_next(folder, plan)}")
    return EXIT_OK


def _next(folder: PilotFolder, plan: Plan) -> str:
    """What to type."""
    if plan.engine in engines.WRITTEN:
        return "\n" + (folder.manifests / COMMANDS).read_text(encoding="utf-8").rstrip()
    return f" bench collect {folder.path} --follow --out rows.csv"


def _plan(arguments: argparse.Namespace, folder: PilotFolder) -> Plan:
    asked = pilot_options.parsed(cli.command_line(), ["run", *arguments.run])
    for name in OWN_PLACE:
        if getattr(asked, name):
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} cannot be handed on: bench collect writes the results")
    if asked.device == "auto" and arguments.engine != "local":
        raise UsageError("what the nodes have is not seen from here: say --device cpu, or cuda")
    argv = list(arguments.run)
    if asked.repeats is None and asked.target is None:
        argv += ["--repeats", str(REPEATS)]
    seed = run_command.how(asked, again=None).seed
    argv += [] if asked.seed else ["--seed", str(seed)]
    asked = pilot_options.parsed(cli.command_line(), ["run", *argv])
    asked.threads = None  # of the nodes: they have other CPUs than this machine
    tasks = grid.plan(options.request(asked, say=print), entry=backends_index.find)
    return Plan(
        run_id=run_command.new_id(),
        git_rev=machine.git_rev(),
        cwd=_cwd(arguments.engine, folder),
        argv=argv,
        engine=arguments.engine,
        how=_how(arguments),
        shares=_shares(tasks),
        cells={task.cell.id: task.cell.to_json() for task in tasks},
    )


def _cwd(engine: str, folder: PilotFolder) -> str:
    """Where the shares run. Pods have no folder of this machine's but the pilot's own."""
    return os.path.normpath(folder.path) if engine in engines.WRITTEN else str(Path.cwd())


def _how(arguments: argparse.Namespace) -> How:
    names = ("partition", "gres", "account", "array_parallelism", *OF_KUBERNETES)
    given = {name: getattr(arguments, name) for name in names} | {"set": dict(arguments.set)}
    minutes = arguments.time or MINUTES[arguments.engine]
    try:
        return How.model_validate({"time": minutes, **given})
    except ValidationError as error:
        option = error.errors()[0]["loc"][0]
        form = FORMS.get(str(option), "a value is one line of plain text")
        raise UsageError(f"--{option}: {form}") from error


def _shares(tasks: Sequence[grid.Task]) -> list[Share]:
    groups: dict[str, list[tuple[str, int]]] = {}
    for task in tasks:
        groups.setdefault(schedule.rival(task.cell), []).append(task.key)
    width = len(str(len(groups)))
    return [
        Share(name=f"{number:0{width}}-{'-'.join(rival.split('/')[:3])}", keys=keys)
        for number, (rival, keys) in enumerate(groups.items(), start=1)
    ]
