"""The command line, ``python -m bench`` or ``bench``: where errors become exit codes."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from bench import doctor, judging_options, options, pilot_options
from bench.check_backend import options as check_backend_options
from bench.cluster import options as cluster_options
from bench.compare import options as compare_options
from bench.contract import BenchError
from bench.envs import command as env_command
from bench.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, UsageError
from bench.gpu_check import options as gpu_check_options
from bench.history import options as history_options
from bench.provenance import options as provenance_options
from bench.report import options as report_options
from bench.run import command as run_command
from bench.score import options as score_options
from bench.sinks import options as sinks_options
from bench.text import plain, redacted


class Parser(argparse.ArgumentParser):
    """argparse, with its errors as one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is stated in ``bench.errors``."""
    try:
        arguments = pilot_options.parsed(command_line(), argv)
        command: Callable[[argparse.Namespace], int] = arguments.command
        return command(arguments)
    except BenchError as error:
        print(f"bench: {plain(redacted(str(error)))}", file=sys.stderr)  # it may quote anybody
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("bench: interrupted; every finished row is on disk", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK


def command_line() -> Parser:
    """All commands and their options."""
    parser = Parser(
        prog="bench",
        description="Run the same reference workloads on several deep-learning frameworks and "
        "compare what was measured.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    options.add(commands).set_defaults(command=run_command.run)
    pilot_options.add_init(commands).set_defaults(command=pilot_options.init)
    env_command.add(commands).set_defaults(command=env_command.run)
    check = _later("bench.check_backend.command")
    check_backend_options.add(commands).set_defaults(command=check)
    judging_options.add_fairness(commands).set_defaults(command=_later("bench.fairness"))
    judging_options.add_parity(commands).set_defaults(command=_later("bench.gates"))
    options.add_calibrate(commands).set_defaults(command=run_command.calibrate)
    cluster_options.add_submit(commands).set_defaults(command=_later("bench.cluster.submit"))
    cluster_options.add_collect(commands).set_defaults(command=_later("bench.cluster.collect"))
    compare_options.add(commands).set_defaults(command=_later("bench.compare.command"))
    history_options.add(commands).set_defaults(command=_later("bench.history.command"))
    gpu_check_options.add(commands).set_defaults(command=_later("bench.gpu_check.command"))
    score_options.add(commands).set_defaults(command=_later("bench.score.command"))
    score_options.add_shortlist(commands).set_defaults(command=_later("bench.score.shortlist"))
    report_options.add(commands).set_defaults(command=_later("bench.report.command"))
    shot = commands.add_parser("snapshot", help="ask the package clients for releases and sizes")
    shot.add_argument("--backend", default="all", help=options.LIST)
    shot.set_defaults(command=_later("bench.snapshot"))
    provenance_options.add_sbom(commands).set_defaults(command=_later("bench.provenance.sbom"))
    provenance_options.add_audit(commands).set_defaults(command=_later("bench.provenance.audit"))
    provenance_options.add_verify(commands).set_defaults(command=_later("bench.provenance.verify"))
    provenance_options.add_sign(commands).set_defaults(command=_later("bench.provenance.signing"))
    score_options.add_advisories(commands).set_defaults(command=_later("bench.score.audit"))
    night = commands.add_parser("night", help="compare a folder's last night with the one before")
    night.add_argument("folder", type=Path, nargs="?", default=Path("nights"))
    night.set_defaults(command=_later("bench.night"))
    _add_readers(commands)
    listing = commands.add_parser("backends", help="list the backends and what they offer")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(command=_later("bench.listing"))
    doc = commands.add_parser("doctor", help="say what is here, what is missing, how to mend it")
    doc.add_argument("--json", action="store_true", help="print JSON")
    doc.set_defaults(command=lambda arguments: doctor.run(json=arguments.json))
    return parser


def _add_readers(commands: Any) -> None:
    """Commands that say one thing of results."""
    sinks_options.add(commands).set_defaults(command=sinks_options.run)
    scale = commands.add_parser("scaling", help="what several devices bring of what they could")
    scale.set_defaults(command=_later("bench.scaling"))
    reach = commands.add_parser("targets", help="seconds and samples to an accuracy (run --target)")
    reach.set_defaults(command=_later("bench.targets"))
    for reader in (scale, reach):
        reader.add_argument("--json", action="store_true", help="print JSON")
        reader.add_argument("results", type=Path, nargs="+", help="results files or folders")


def _later(module: str) -> Callable[[argparse.Namespace], int]:
    """``run`` of a module that is imported only when it is asked for: scipy, pandas and pyarrow
    take a second and 150 MB.
    """

    def run(arguments: argparse.Namespace) -> int:
        code: int = importlib.import_module(module).run(arguments)
        return code

    return run
