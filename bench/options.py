"""The options of ``bench run``: what can be asked for, and the request that is made from it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import backends_index, grid, machine, nodes, pilot_options, schedule
from bench.accelerators import auto, choose
from bench.accelerators.devices import Devices
from bench.arguments import count, fraction
from bench.capabilities import CAPABILITIES
from bench.envs import interpreters
from bench.errors import UsageError
from bench.infer import options as infer_options
from bench.run.tools import OWN_TARGET
from workloads import catalogue

DEFAULT_BACKENDS = ("torch", "jax", "onnxruntime")  # of these, those that exist yet
SEEDS = 3
"""Of a time to accuracy, where no repeats are asked for."""
PILOT = "cnn,transformer,export"
LIST = "a comma list, or all"


def add(commands: Any) -> argparse.ArgumentParser:
    """Add ``run`` and all its options to the command line."""
    run: argparse.ArgumentParser = commands.add_parser(
        "run",
        help="run a pilot and write its CSV",
        description="Run every chosen cell in a fresh process and append a row for each to a CSV. "
        f"Every choice takes {LIST}.",
    )
    _add_choices(run.add_argument_group("what to run"))
    how = run.add_argument_group("how")
    _add_manner(how)
    _add_end(how)
    nodes.add(how)
    how.add_argument(
        "--find-max-batch",
        action="store_true",
        help="find the largest batch that each training cell has memory for, and measure that",
    )
    infer_options.add(run.add_argument_group("a model file of yours (--workload infer)"))
    pilot_options.add(run, pilot_options.of_run)
    return run


def add_calibrate(commands: Any) -> argparse.ArgumentParser:
    """Add ``calibrate``: run's choices, and only the manner that makes sense for it."""
    made: argparse.ArgumentParser = commands.add_parser(
        "calibrate",
        help="measure identical and known slower workers: what is found, and what is imagined",
        description="Run every chosen cell against itself, and slowed by 2, 5 and 10 % of each"
        " step. Exit code 1 where more than 1 % of comparisons of identical workers differ.",
    )
    _add_choices(made.add_argument_group("what to run"))
    _add_manner(made.add_argument_group("how"))
    made.add_argument("--slow", default="2,5,10", help="percent of a step; '' for none (2,5,10)")
    made.set_defaults(size="tiny", workload="cnn", repeats=20, find_max_batch=False)
    made.set_defaults(nodes=1, node_rank=0, rendezvous=None)
    pilot_options.add(made, pilot_options.of_run)
    return made


def add_cells(choice: argparse._ArgumentGroup) -> None:
    """What is in the grid."""
    choice.set_defaults(catalogue=catalogue.REFERENCE)
    choice.add_argument("--backend", help="default: " + ",".join(_default_backends()))
    choice.add_argument(
        "--workload",
        default=PILOT,
        help=f"default: {PILOT}; llm trains a decoder; capability asks what a backend can do beside"
        " being fast; infer puts a model file of yours under load (--onnx)",
    )
    choice.add_argument(
        "--capability", default="all", help="of the workload capability; default: all"
    )
    choice.add_argument(
        "--size", default="small", help="tiny (seconds), small (minutes, default), base (one GPU)"
    )
    pilot_options.add_module(choice)
    choice.add_argument(
        "--device",
        default="auto",
        help="auto (default), cpu, cuda, rocm, tpu; which one: cuda:1, cuda:GPU-5fc1, cuda:0+1",
    )
    _add_variants(choice)


def _add_choices(choice: argparse._ArgumentGroup) -> None:
    """What is in the grid, how often, and what is found beside speed."""
    add_cells(choice)
    choice.add_argument(
        "--repeats",
        type=count,
        help="fresh processes per cell; default: as --precision-target asks",
    )
    choice.add_argument(
        "--quality",
        action="store_true",
        help="also train for real and record the held-out accuracy",
    )
    choice.add_argument(
        "--target",
        type=fraction,
        nargs="?",
        const=OWN_TARGET,
        metavar="ACCURACY",
        help="also train until the held-out accuracy is that (left out: the workload's own) and"
        " record the seconds and samples; each repeat is a seed, three unless --repeats says else",
    )


def _add_variants(choice: argparse._ArgumentGroup) -> None:
    """In which ways one backend runs one model."""
    choice.add_argument("--precision", default="fp32", help="default: fp32")
    choice.add_argument(
        "--mode", default="default", help="default (the usual one), eager, graph, compiled"
    )
    choice.add_argument("--track", default="out-of-box", help="out-of-box (default), tuned")
    choice.add_argument("--format", default="onnx", help="of exports: onnx (default), native")
    choice.add_argument("--compile", default="cold", help="compile caches: cold (default), warm")
    choice.add_argument("--batch", help="batch sizes; default: the workload's own")
    choice.add_argument("--threads", type=count, help="default: all CPUs that are allowed")
    choice.add_argument("--world-size", default="1", help="processes per cell; default: 1")
    choice.add_argument(
        "--setting",
        action="append",
        default=[],
        metavar="KEY=VALUE[,VALUE]",
        help="a setting of the backend's own; may be given several times",
    )


def _add_manner(how: argparse._ArgumentGroup) -> None:
    """How the grid is run and where its rows go."""
    how.add_argument(
        "--schedule",
        choices=schedule.SCHEDULES,
        default=schedule.DEFAULT,
        help="baton (default: cells of one workload take turns where memory allows), interleaved (a"
        " random order each repeat), sequential",
    )
    how.add_argument("--seed", type=count, help="of the order; default: a random one")
    how.add_argument("--out", type=Path, help="the CSV; default: results/local/<time>-<run>.csv")
    how.add_argument("--cluster", default="", help="keep the CSV under results/<cluster>/")
    how.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="BACKEND=PATH",
        help="use this interpreter in place of an environment of our own",
    )
    how.add_argument(
        "--allow-busy", action="store_true", help="measure on a device that others compute on"
    )
    how.add_argument("--timeout", type=float, metavar="SECONDS", help="deadline of a cell")
    how.add_argument("--memory-limit", type=count, metavar="MIB", help="end a cell that grows past")
    said = "say on standard error, too, what goes into the log beside the CSV (*.log.jsonl)"
    how.add_argument("-v", "--verbose", action="store_true", help=said)


def _add_end(how: argparse._ArgumentGroup) -> None:
    """When it is enough, and what is told at the end."""
    how.add_argument(
        "--precision-target",
        type=fraction,
        default=0.03,
        metavar="FRACTION",
        help="repeat until each ratio between backends is known to this (0.03) ...",
    )
    how.add_argument(
        "--max-minutes",
        type=float,
        default=10.0,
        metavar="MINUTES",
        help="... or another repeat would take longer than this (10)",
    )
    how.add_argument("--resume", type=Path, metavar="CSV", help="go on with an unfinished CSV")
    how.add_argument("--strict", action="store_true", help="exit with 1 if any cell failed")
    how.add_argument("--json", action="store_true", help="print the rows as JSON")
    how.add_argument("--report", action="store_true", help="at the end write the page beside --out")


def request(arguments: argparse.Namespace, *, say: Callable[[str], None]) -> grid.Request:
    """What the options ask for; ``say`` is told which device each backend gets by itself."""
    threads_each = threads(arguments)
    device, asked = choose.named(arguments.device)
    backend = arguments.backend or ",".join(_default_backends())
    backends = grid.choose("backend", backend, backends_index.names())
    site = brought(arguments.python)
    own: dict[str, str] = {}
    if device == "auto":
        device = machine.likely_device()
        paths = pythons(arguments.python)
        own = auto.devices(backends, pythons=paths, brought=site, asked=asked, say=say)
    sizes = grid.choose("size", arguments.size, arguments.catalogue.sizes())
    if any(backends_index.find(name).modules for name in backends):
        for own_code in arguments.catalogue.executed(sizes):
            say(f"runs your code: {own_code} (in the workers and for the reference)")
    return grid.Request(
        backends=backends,
        workloads=grid.choose("workload", arguments.workload, arguments.catalogue.names()),
        sizes=sizes,
        devices=grid.choose("device", device, grid.DEVICES),
        precisions=grid.choose("precision", arguments.precision, grid.PRECISIONS),
        modes=_of_each("mode", arguments.mode, ("default", *grid.MODES)),
        tracks=grid.choose("track", arguments.track, grid.TRACKS),
        formats=_of_each("format", arguments.format, grid.FORMATS),
        compile_caches=grid.choose("compile cache", arguments.compile, grid.COMPILE_CACHES),
        batches=counts("--batch", arguments.batch),
        world_sizes=counts("--world-size", arguments.world_size),
        capabilities=grid.choose("capability", arguments.capability, CAPABILITIES),
        settings=dict(setting(text) for text in arguments.setting),
        device_of=own,
        brought=site,
        catalogue=arguments.catalogue,
        repeats=arguments.repeats or (1 if arguments.target is None else SEEDS),
        threads=threads_each,
        nodes=arguments.nodes,
    )


def threads(arguments: argparse.Namespace) -> int:
    """As many as there are CPUs that may be used, and never more."""
    allowed = len(machine.cpus())
    if arguments.threads and arguments.threads > allowed:
        raise UsageError(f"--threads {arguments.threads}: only {allowed} CPUs are allowed here")
    return arguments.threads or allowed


def devices(arguments: argparse.Namespace) -> Devices:
    """The accelerators that the options allow."""
    asked = choose.named(arguments.device)[1]
    return Devices(asked, allow_busy=arguments.allow_busy, deadline_s=arguments.timeout)


def _of_each(what: str, text: str, known: Sequence[str]) -> list[str]:
    """A choice of names that backends differ in: ``all`` stays, for it means each one's own."""
    return [grid.EVERY] if text == grid.EVERY else grid.choose(what, text, known)


def _default_backends() -> list[str]:
    return [name for name in DEFAULT_BACKENDS if name in backends_index.names()]


def counts(option: str, text: str | None) -> list[int]:
    try:
        return [count(part.strip()) for part in text.split(",")] if text else []
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"argument {option}: {error}") from error


def percents(text: str) -> list[str]:
    return [str(one) for one in counts("--slow", text or None)]


def setting(text: str) -> tuple[str, list[str]]:
    key, equals, values = text.partition("=")
    if not (key and equals and values):
        raise UsageError(f"--setting {text!r}: write KEY=VALUE, or KEY=VALUE,VALUE for several")
    return key, values.split(",")


def brought(pairs: Sequence[str]) -> set[str]:
    """Backends with an interpreter of the site's, by option or by environment variable."""
    variables = {
        name: f"BENCH_PYTHON_{interpreters.variable(name)}" for name in backends_index.names()
    }
    named = {name for name, variable in variables.items() if os.environ.get(variable)}
    return named | set(pythons(pairs))


def pythons(pairs: Sequence[str]) -> dict[str, Path]:
    pythons = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not (equals and path):
            raise UsageError(
                f"--python {pair!r}: write BACKEND=PATH, such as torch=/opt/bin/python"
            )
        backends_index.find(name)
        pythons[name] = Path(path)
    return pythons
