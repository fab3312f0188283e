"""``bench backends``: what there is, and what it offers."""

from __future__ import annotations

import argparse
import json

from bench import backends_index
from bench.errors import EXIT_OK


def run(arguments: argparse.Namespace) -> int:
    found = {name: backends_index.find(name) for name in backends_index.names()}
    if arguments.json:
        facts = {
            name: {"modes": entry.modes, "devices": entry.locks, "formats": list(entry.formats)}
            for name, entry in found.items()
        }
        print(json.dumps(facts))
        return EXIT_OK
    for name, entry in found.items():
        modes, devices, formats = (
            ", ".join(entry.modes),
            ", ".join(entry.locks),
            ", ".join(entry.formats),
        )
        print(f"{name}: modes {modes}; locks for {devices}; exports {formats}")
    return EXIT_OK
