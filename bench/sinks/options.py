"""The options of ``bench export``."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

from bench.errors import UsageError

MODULES = {
    "pytest-benchmark": "bench.pytest_benchmark_file",
    "mlflow": "bench.sinks.mlflow_runs",
    "prometheus": "bench.sinks.prometheus_text",
}
"""Format -> the module that knows it; imported only then, and its library with it."""

OWN = {
    "out": ("pytest-benchmark", "prometheus"),
    "tracking_uri": ("mlflow",),
    "experiment": ("mlflow",),
    "raw_times": ("mlflow",),
}
"""Options that not every format has a use for: none of them is passed over in silence."""


def add(commands: Any) -> argparse.ArgumentParser:
    """Add ``export``."""
    made: argparse.ArgumentParser = commands.add_parser(
        "export",
        help="write results as another program's file, or as MLflow's runs",
        description="Exit code 3 where there is nothing to write.",
    )
    made.add_argument("--format", choices=tuple(MODULES), default="pytest-benchmark")
    made.add_argument("-o", "--out", type=Path, help="the file; default: standard output")
    made.add_argument(
        "--tracking-uri", metavar="URI", help="of MLflow: file:FOLDER, or a server's http address"
    )
    made.add_argument("--experiment", metavar="NAME", help="of MLflow; default: framework-pilot")
    made.add_argument(
        "--raw-times", action="store_true", help="each row's times as an artifact of its MLflow run"
    )
    made.add_argument("results", type=Path, nargs="+", help="results files or folders")
    return made


def run(arguments: argparse.Namespace) -> int:
    for name, formats in OWN.items():
        if getattr(arguments, name) and arguments.format not in formats:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} is not of --format {arguments.format}: leave it away")
    code: int = importlib.import_module(MODULES[arguments.format]).run(arguments)
    return code
