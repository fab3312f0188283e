"""A pilot file as the defaults of a command's options: what the command line says counts more.

Parent half.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import backends_index, pilot_file
from bench.arguments import factory
from bench.errors import EXIT_OK, UsageError
from bench.pilot_file import PilotFile
from bench.score.limits import LIMITS
from workloads.own import modules
from workloads.own.tables import OwnSize

Defaults = Iterator[tuple[str, Any]]
"""An option's name among the parsed arguments, and its value as the command line would have it."""

LISTS = {
    "backend": "backends",
    "device": "devices",
    "capability": "capabilities",
    "precision": "precisions",
    "mode": "modes",
    "track": "tracks",
    "format": "formats",
    "batch": "batches",
    "world_size": "world_sizes",
}
"""Option that takes a comma list -> key of the file."""
PLAIN = ("threads", "schedule")
BUDGET = ("repeats", "precision_target", "max_minutes")
TEMPLATE = Path(__file__).with_name("pilot.toml")
"""What ``bench init`` writes."""


def add(parser: argparse.ArgumentParser, of_file: Callable[[PilotFile], Defaults]) -> None:
    """``--spec``, for a command whose options ``of_file`` knows."""
    parser.add_argument(
        "--spec", type=Path, metavar="FILE", help="a pilot file (bench init); options count more"
    )
    parser.set_defaults(of_file=of_file, parser=parser)


def add_module(choice: argparse._ArgumentGroup) -> None:
    """``--torch-module``: a size of the user's own without a file."""
    choice.add_argument(
        "--torch-module",
        type=factory,
        metavar="PACKAGE.MODULE:FACTORY",
        help="run a PyTorch module of your own, found from this folder: it executes your code",
    )


def add_init(commands: Any) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        "init", help="write a commented pilot file to begin with"
    )
    made.add_argument("out", type=Path, nargs="?", default=Path("pilot.toml"))
    return made


def init(arguments: argparse.Namespace) -> int:
    try:
        with arguments.out.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE.read_text(encoding="utf-8"))
    except FileExistsError as error:
        raise UsageError(f"{arguments.out} is there already: name another file") from error
    except OSError as error:
        raise UsageError(f"cannot write {arguments.out}: {error.strerror}") from error
    print(f"{arguments.out}: edit it, then bench run --spec {arguments.out}")
    return EXIT_OK


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; a pilot file that it names, or a module, gives what it leaves open."""
    arguments = parser.parse_args(argv)
    spec, module = (getattr(arguments, name, None) for name in ("spec", "torch_module"))
    if not (spec or module):
        return arguments
    known, found = vars(arguments), pilot_file.read(spec) if spec else PilotFile()
    found = of_module(found, module) if module else found
    arguments.parser.set_defaults(
        **{name: value for name, value in arguments.of_file(found) if name in known}
    )
    return parser.parse_args(argv)


def of_module(file: PilotFile, module: str) -> PilotFile:
    """With ``--torch-module`` in place of the file's own sizes; by those who have such modules."""
    made = OwnSize.model_validate({"model": modules.MODEL, "module": module, "batch": 16})
    able = [name for name in backends_index.names() if backends_index.find(name).modules]
    asked = {"size": {modules.size_name(module): made}, "sizes": None, "workloads": None}
    return file.model_copy(update={"backends": file.backends or able, **asked})


def of_run(file: PilotFile) -> Defaults:
    """For ``bench run`` and ``calibrate``: with sizes of its own, a file asks for these."""
    known = file.specs()
    yield "catalogue", known
    models = sorted({own.model for own in file.size.values()})
    needed = [known.home(model) for model in models]
    needed += [one for one in ("generate", "export") if set(models) & set(known.models(one))]
    asked = {
        "workload": file.workloads or needed or None,
        "size": file.sizes or list(file.size) or None,
        **{name: getattr(file, key) for name, key in LISTS.items()},
    }
    yield from ((name, ",".join(map(str, given))) for name, given in asked.items() if given)
    given = {name: getattr(file, name) for name in PLAIN}
    given |= {name: getattr(file.budget, name) for name in BUDGET}
    given |= {"timeout": file.budget.timeout_s, "memory_limit": file.budget.memory_limit_mib}
    given |= {"cluster": file.cluster, "quality": file.quality or None, "target": file.target}
    yield from ((name, value) for name, value in given.items() if value is not None)
    yield "setting", [f"{key}={','.join(values)}" for key, values in file.settings.items()]
    yield "python", [f"{backend}={path}" for backend, path in file.python.items()]


def of_judging(file: PilotFile) -> Defaults:
    """For ``score``, ``shortlist`` and ``report``."""
    score, constraints = file.score, file.constraints
    given = {
        "profile": score.profile,
        "task": score.task,
        "trust_prior": score.trust_prior,
        **{name: getattr(constraints, name) for name in LIMITS},
        "track": file.tracks[0] if file.tracks and len(file.tracks) == 1 else None,
    }
    yield from ((name, value) for name, value in given.items() if value is not None)
    yield "prices", dict(score.prices)
    yield "must", list(constraints.must)
    yield "set", [f"{criterion}={weight}" for criterion, weight in score.weights.items()]
