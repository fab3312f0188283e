"""``bench env``: build or check backends' environments."""

from __future__ import annotations

import argparse
import json
from typing import Any

from bench import backends_index, envs, grid
from bench.errors import EXIT_OK, EnvError, UsageError


def add(commands: Any) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        "env", help="build or check a backend's environment"
    )
    made.add_argument("backend", help="which: a comma list, or all")
    made.add_argument("--device", default="cpu", help="cpu (default), cuda, rocm or tpu")
    made.add_argument("--json", action="store_true", help="print JSON")
    return made


def run(arguments: argparse.Namespace) -> int:
    """Build what is missing and say where each environment is."""
    named = grid.choose("backend", arguments.backend, backends_index.names())
    say = _quiet if arguments.json else print
    locked = [name for name in named if arguments.device in backends_index.find(name).locks]
    if not locked:
        raise UsageError(f"none of {', '.join(named)} has a lock for {arguments.device}")
    for name in sorted(set(named) - set(locked)):
        say(f"{name}: it has no lock for {arguments.device}")

    def make(backend: str, device: str) -> envs.Env:
        return envs.resolve(backend, device, pythons={}, log=say)

    made = envs.each(make, [(name, arguments.device) for name in locked])
    found = {name: env for (name, _), env in made.items() if isinstance(env, envs.Env)}
    if arguments.json:
        facts = {name: {"python": str(env.python), "lock": env.lock} for name, env in found.items()}
        print(json.dumps(facts))
    for name, env in found.items():
        note = f"; {env.note}" if env.note else ""
        say(f"{name}: {env.python} (lock {env.lock}){note}")
    errors = [str(env) for env in made.values() if not isinstance(env, envs.Env)]
    if errors:
        raise EnvError("; ".join(errors))
    return EXIT_OK


def _quiet(_: str) -> None:
    """With --json nothing but JSON goes to standard output."""
