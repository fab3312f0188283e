"""The options of ``bench run --workload infer``: a model file of the user's, and its loads."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.arguments import count
from bench.errors import UsageError

WORKLOAD = "infer"
DEFAULT_RATES = "50%"


OTHERS = (
    *("size", "mode", "track", "format", "compile", "world_size", "capability", "quality", "spec"),
    *("schedule", "seed", "cluster", "resume", "report", "find_max_batch", "nodes", "timeout"),
    *("memory_limit", "precision_target", "max_minutes", "verbose"),
)
"""Options of ``bench run`` that mean nothing here: none of them is passed over in silence."""


@dataclass(frozen=True)
class Rate:
    """Requests a second, or a share of full load."""

    value: float
    share: bool

    def per_second(self, full: float) -> float:
        return self.value * full if self.share else self.value


def add(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--onnx", type=Path, metavar="FILE", help="the model file")
    group.add_argument(
        "--data", type=Path, metavar="NPZ", help="samples, an array for each input; default: noise"
    )
    group.add_argument(
        "--dim",
        action="append",
        default=[],
        metavar="NAME=N",
        help="size of a dimension, other than the batch, that the file leaves open",
    )
    group.add_argument(
        "--rate",
        default=DEFAULT_RATES,
        help=f"requests a second, or %% of full load, by commas; default: {DEFAULT_RATES}".replace(
            "50%", "50%%"
        ),
    )
    group.add_argument(
        "--slo-ms", type=positive, metavar="MS", help="find the highest rate that holds this"
    )
    group.add_argument(
        "--slo-percentile", type=int, choices=(50, 95, 99), default=99, help="of latencies (99)"
    )
    group.add_argument(
        "--load-seconds", type=positive, default=10.0, metavar="S", help="of each load (10)"
    )


def asked(arguments: argparse.Namespace) -> bool:
    """Whether the run is of a file of the user's; UsageError where only half of it is said."""
    if arguments.workload == WORKLOAD and not arguments.onnx:
        raise UsageError("--workload infer runs a file of yours: name it with --onnx FILE")
    if arguments.onnx and arguments.workload != WORKLOAD:
        raise UsageError("--onnx is run by --workload infer, and by no other in the same run")
    return bool(arguments.onnx)


def refuse_others(arguments: argparse.Namespace) -> None:
    """UsageError for an option that a file of the user's has no use for."""
    for name in OTHERS:
        if getattr(arguments, name) != arguments.parser.get_default(name):
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} is not of --workload infer: leave it away")


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def rates(text: str) -> list[Rate]:
    return [_rate(part.strip()) for part in text.split(",") if part.strip()]


def _rate(text: str) -> Rate:
    number, percent, rest = text.partition("%")
    try:
        value = positive(number)
    except argparse.ArgumentTypeError as error:
        raise UsageError(
            f"--rate {text!r}: write requests a second, or 80% of full load"
        ) from error
    if rest:
        raise UsageError(f"--rate {text!r}: write requests a second, or 80% of full load")
    return Rate(value / 100 if percent else value, share=bool(percent))


def sizes(pairs: Sequence[str]) -> dict[str, int]:
    found = {}
    for pair in pairs:
        name, equals, text = pair.rpartition("=")
        try:
            found[name] = count(text)
        except argparse.ArgumentTypeError:
            equals = ""
        if not (equals and name):
            raise UsageError(f"--dim {pair!r}: write NAME=N, such as sequence=128")
    return found
