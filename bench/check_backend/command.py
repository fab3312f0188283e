"""``bench check-backend``: ask, judge, print."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from functools import cache

from backends.entry import Entry
from bench import backends_index, envs, options
from bench.accelerators import choose
from bench.accelerators.devices import Devices
from bench.check_backend import judges, plan, registered
from bench.check_backend.judges import MISSING, OK, WRONG, Context, Finding
from bench.check_backend.workers import Workers
from bench.envs import Env
from bench.errors import EXIT_NO, EXIT_OK, EnvError


def run(arguments: argparse.Namespace) -> int:
    """Print each finding as it comes; exit code 1 where one is missing or wrong."""
    found = []
    for finding in findings(arguments):
        found.append(finding)
        if not arguments.json:
            print(f"{finding.status:8} {finding.what:58} {finding.said}", flush=True)
    if arguments.json:
        print(json.dumps([finding._asdict() for finding in found], indent=1))
    else:
        print(f"\n{arguments.backend}: {judges.summary(found)}")
    return EXIT_NO if judges.code(found) else EXIT_OK


def findings(arguments: argparse.Namespace) -> Iterator[Finding]:
    """The entry, the environment, the adapter, its models, its files."""
    backend, entry = arguments.backend, backends_index.find(arguments.backend)
    device, asked = choose.named(arguments.device)
    yield from registered.entry(backend, entry)
    pythons = options.pythons(arguments.python)

    @cache
    def environment(name: str, kind: str) -> Env:
        return envs.resolve(name, kind, pythons=pythons, log=lambda _: None)

    try:
        env = environment(backend, device)
    except EnvError as error:
        yield Finding(WRONG, "environment", str(error))
        return
    yield Finding(OK, "environment", f"{env.python} (lock {env.lock})")
    workers = Workers(environment, Devices(asked))
    yield from _Examiner(backend, entry, device, workers).findings()


class _Examiner:
    """One backend's check on one device."""

    def __init__(self, backend: str, entry: Entry, device: str, workers: Workers) -> None:
        self.backend, self.entry, self.device = backend, entry, device
        self.workers = workers

    def findings(self) -> Iterator[Finding]:
        """The rest is not asked where the adapter is not there, or not its device."""
        former = plan.first(self.backend, self.entry, self.device)
        missing: Sequence[str] = ()
        for what, reply in self.workers.answers(former, plan.FORMER):
            finding = judges.judge(what, reply, Context(former))
            missing = reply.get("found", {}).get("missing", missing)
            yield from judges.lacking(missing) if what == "names" else ()
            yield finding
            if finding.status == WRONG:
                return
        ran = False
        for one in plan.exercises(self.backend, self.entry, self.device):
            for finding in self.exercise(one, missing):
                ran |= finding.status == OK and finding.what.startswith(judges.SAID["parity"])
                yield finding
        if not ran:
            yield Finding(WRONG, "a cell that runs", "no model passed the gate in any precision")
        yield from self.ladders(missing)

    def exercise(self, one: plan.Exercise, missing: Sequence[str]) -> Iterator[Finding]:
        """A question that needs what is missing is not asked."""
        context = Context(one.cell, launches=bool(self.entry.rank_env))
        possible = []
        for what in one.questions:
            if lacks := [name for name in judges.NEEDS[what] if name in missing]:
                said = f"not asked: it needs {', '.join(lacks)}"
                yield _about(one, Finding(MISSING, judges.SAID[what], said))
            else:
                possible.append(what)
        for what, reply in self.workers.answers(one.cell, possible):
            yield _about(one, judges.judge(what, reply, context))

    def ladders(self, missing: Sequence[str]) -> Iterator[Finding]:
        if lacks := [name for name in judges.LADDER if name in missing]:
            said = f"not climbed: it needs {', '.join(lacks)}"
            yield Finding(MISSING, "the export ladder", said)
            return
        for cell in plan.ladders(self.backend, self.entry, self.device):
            yield judges.ladder(cell, self.workers.climbed(cell))


def _about(one: plan.Exercise, finding: Finding) -> Finding:
    """What is of the adapter and not of a cell is named alone."""
    alone = set(one.questions) & set(plan.OF_ADAPTER)
    return finding if alone else finding._replace(what=f"{finding.what}: {one.label}")
