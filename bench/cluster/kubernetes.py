"""Jobs of Kubernetes, written down and not started: manifests, Dockerfiles and what to type.

No cluster was there to try them on. They are checked against Kubernetes's schemas in the tests, and
a share is run as an index would run it; so a pilot is handed over by its user.
"""

from __future__ import annotations

import os
import re
import shlex
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from backends.registry import BACKENDS
from bench import backends_index, cli, options, pilot_options
from bench.cluster import dockerfiles, manifests
from bench.cluster.dockerfiles import Built
from bench.cluster.engines import EngineError, State
from bench.cluster.manifests import HOME, WRITABLE, Pods
from bench.cluster.plan import COMMANDS, How, PilotFolder, Plan
from bench.envs import locks
from bench.errors import UsageError
from bench.run import serving

DEVICES = {"cuda": "nvidia.com/gpu", "rocm": "amd.com/gpu", "tpu": "google.com/tpu"}
"""Kind of device -> what its vendor's plugin calls it. The CPU has no plugin."""
CLAIM = "framework-pilot"
NOBODY = (65532, 65532)

_DEVICES = re.compile(r"([a-z0-9.-]+/[A-Za-z0-9._-]+):([1-9][0-9]{0,3})")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")


def plan(shares: Sequence[str], pilot: Plan) -> list[list[str]]:
    """One each, an index. UsageError where the pods could not run it."""
    how = pilot.how
    if how.partition or how.account:
        raise UsageError("--partition and --account are Slurm's: give --namespace")
    _devices(pilot)
    _resources(how)
    _check_places(Path(pilot.cwd), mount(pilot))
    _check_files(_asked(pilot), mount(pilot))
    images(pilot)
    return [[one] for one in shares]


def submit(commands: Sequence[Sequence[str]], *, log: Path, how: Mapping[str, Any]) -> list[str]:
    """Write what to apply, what to build and what to type, beside ``log``; start nothing."""
    folder = PilotFolder(log.parent)
    pilot, number = folder.plan(), len(folder.submissions()) + 1
    name = f"bench-{pilot.run_id}-{number}"
    pods = _pods(pilot, How.model_validate(how), name, [one for *_, one in commands])
    built, base = images(pilot), pilot.how.base or dockerfiles.BASE
    yaml = f"job-{number}.yaml"
    written = {one.file: dockerfiles.of_backend(one, base=base) for one in built}
    written["Dockerfile"] = dockerfiles.gathering(built, base=base)
    written[yaml] = manifests.dumped([manifests.silence(pods), manifests.job(pods)])
    written[COMMANDS] = _commands(folder, built, pods, folder.manifests / yaml)
    try:
        folder.manifests.mkdir(exist_ok=True)
        for file, text in written.items():
            (folder.manifests / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise EngineError(f"cannot write {folder.manifests}: {error.strerror}") from error
    return [f"{name}-{index}" for index in range(len(commands))]


def states(ids: Sequence[str]) -> dict[str, State]:
    """No cluster is asked, so nothing is known to have ended."""
    return dict.fromkeys(ids, State(ended=False, word="kubectl knows"))


def cancel(ids: Sequence[str]) -> None:
    names = sorted({one.rpartition("-")[0] for one in ids})
    if names:
        raise EngineError(f"end it by hand: kubectl delete job {' '.join(names)}")


def mount(pilot: Plan) -> str:
    """Where the volume is, here and in the pods: one place, so that all paths are the same."""
    return os.path.normpath(pilot.how.mount or Path(pilot.cwd).parent)


def images(pilot: Plan) -> list[Built]:
    """Of each environment that the cells need and that is not brought. UsageError."""
    asked = _asked(pilot)
    cells = [pilot.cell(one) for one in pilot.cells]
    users = [user for cell in cells for user in (cell, serving.consumer_of(cell))]
    wanted = {(user.backend, user.device) for user in users}
    if {cell.size for cell in cells} & set(asked.catalogue.own):
        wanted.add(("torch", "cpu"))  # makes the reference of a size of the user's own
    brought = options.pythons(asked.python)
    found = sorted((name, device) for name, device in wanted if name not in brought)
    if others := [name for name, _ in found if name not in BACKENDS]:
        raise UsageError(
            f"{others[0]} is another package's: bring an image with it (--image) and name its"
            f" interpreter there: --python {others[0]}=PATH"
        )
    # Without a lock the plan has refused it already, and its row says so.
    return [Built(*one) for one in found if one[1] in backends_index.find(one[0]).locks]


def _pods(pilot: Plan, how: How, name: str, shares: Sequence[str]) -> Pods:
    command = [dockerfiles.PYTHON, "-m", "bench.cluster.share", pilot.cwd, "--index", *shares]
    return Pods(
        name=name,
        namespace=how.namespace,
        image=how.image or f"framework-pilot:{pilot.run_id}",
        claim=how.claim or CLAIM,
        mount=mount(pilot),
        arguments=command,
        count=len(shares),
        at_once=how.array_parallelism,
        seconds=pilot.minutes * 60,
        devices=_devices(pilot),
        resources=_resources(how),
        # As who submits, so that both may write into the folder; but root is nobody there.
        user=(os.getuid(), os.getgid()) if os.getuid() and os.getgid() else NOBODY,
    )


def _commands(folder: PilotFolder, built: Sequence[Built], pods: Pods, manifest: Path) -> str:
    root = str(locks.ROOT)
    files = {one.tag: one.file for one in built} | {pods.image: "Dockerfile"}
    lines = [
        ["docker", "build", "--file", str(folder.manifests / file), "--tag", tag, root]
        for tag, file in files.items()
    ]
    if "/" in pods.image:  # a name of the pilot's own is of no registry
        lines.append(["docker", "push", pods.image])
    lines += [
        ["kubectl", "apply", "--filename", str(manifest)],
        ["bench", "collect", str(folder.path), "--follow", "--out", "rows.csv"],
    ]
    return "".join(f"{shlex.join(line)}\n" for line in lines)


def _asked(pilot: Plan) -> Namespace:
    return pilot_options.parsed(cli.command_line(), ["run", *pilot.argv])


def _devices(pilot: Plan) -> dict[str, str]:
    """As ``--gres`` says; else as many of the cells' kind as the largest of them takes."""
    if given := pilot.how.gres:
        if (found := _DEVICES.fullmatch(given)) is None:
            raise UsageError(f"--gres {given!r}: write RESOURCE:N, such as nvidia.com/gpu:1")
        return {found[1]: found[2]}
    most: dict[str, int] = {}
    for cell in map(pilot.cell, pilot.cells):
        if name := DEVICES.get(cell.device):
            most[name] = max(most.get(name, 1), cell.world_size)
    return {name: str(count) for name, count in most.items()}


def _resources(how: How) -> dict[str, str]:
    for key, value in how.set.items():
        if not _QUANTITY.fullmatch(value):
            raise UsageError(f"--set {key}={value!r}: write an amount, such as cpu=8, memory=64Gi")
    return dict(how.set)


def _check_places(folder: Path, place: str) -> None:
    if not str(folder).isprintable():
        raise UsageError(f"--folder {str(folder)!r}: give it a name of one line of plain text")
    if ":" in place:
        raise UsageError(f"--mount {place}: Kubernetes mounts nothing at a path with a colon")
    if not folder.is_relative_to(place):
        raise UsageError(f"--mount {place}: {folder} is not below it")
    if any(PurePosixPath(one).is_relative_to(place) for one in (*WRITABLE, HOME)):
        mend = "keep the pilot in a folder of a shared volume, and name it with --mount"
        raise UsageError(f"a volume at {place} would hide what the pods need there: {mend}")


def _check_files(asked: Namespace, place: str) -> None:
    """The pods see the volume and nothing else of this machine."""
    if asked.torch_module:
        raise UsageError("--torch-module finds code from this folder, which the pods do not have")
    for name, value in vars(asked).items():
        if isinstance(value, Path) and not (value.is_absolute() and value.is_relative_to(place)):
            raise UsageError(f"--{name} {value}: the pods see files below {place} only")
