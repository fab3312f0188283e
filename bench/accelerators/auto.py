"""``--device auto``: the best that each backend really has."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import backends_index, envs, machine
from bench.accelerators import choose
from bench.accelerators.ask import ask, question
from bench.envs.build import Log
from bench.errors import EnvError
from bench.grid import unlocked

ASKERS = 2  # at once: importing a framework takes a core


def devices(
    backends: Sequence[str],
    *,
    pythons: Mapping[str, Path],
    brought: Collection[str],
    asked: Mapping[str, Sequence[str]],
    say: Log,
) -> dict[str, str]:
    """Backend -> its device. Where the machine shows signs of none, nobody is asked.

    say: is told what each has, and why it is not the best of the machine.
    """
    kind = machine.likely_device()
    if kind == "cpu":
        return dict.fromkeys(backends, "cpu")

    def best(backend: str) -> tuple[str, str]:
        entry = backends_index.find(backend)
        if kind not in entry.locks and backend not in brought:
            return "cpu", unlocked(backend, kind, entry)
        try:
            python = envs.resolve(backend, kind, pythons=pythons, log=say).python
        except EnvError as error:
            return "cpu", str(error)
        mine = choose.share(kind, asked.get(kind, ()), 1)
        answer = ask(question(backend, kind), python, mine)
        if kind in answer.devices:
            return kind, ", ".join(one.name for one in mine.devices)
        return "cpu", answer.words

    with ThreadPoolExecutor(ASKERS) as pool:
        found = dict(zip(backends, pool.map(best, backends), strict=True))
    for backend, (device, why) in found.items():
        say(f"{backend}: --device auto takes {device}" + (f" ({why})" if why else ""))
    return {backend: device for backend, (device, _) in found.items()}
