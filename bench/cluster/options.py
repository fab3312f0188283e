"""The options of ``bench submit`` and ``bench collect``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from bench.arguments import count
from bench.cluster.engines import ENGINES

_KEY = re.compile(r"[a-z][a-z0-9-]*")


def add_submit(commands: Any) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        "submit",
        help="hand a pilot to Slurm, to this machine's background, or to you for Kubernetes",
        description="Plan a pilot, cut it into shares (cells that will be compared stay together)"
        " and hand these to an engine; returns at once. bench collect FOLDER brings the rows.",
    )
    made.add_argument("--engine", choices=ENGINES, default="local", help=_engines())
    made.add_argument("--folder", type=Path, metavar="DIR", help="on a disk that all nodes share")
    made.add_argument(
        "--resume", type=Path, metavar="DIR", help="submit what is missing of a pilot, and no more"
    )
    made.add_argument(
        "--time",
        type=count,
        metavar="MINUTES",
        help="limit of each job; default: an hour of a cluster's, a week of this machine's",
    )
    _add_slurm(made.add_argument_group("of Slurm"))
    _add_kubernetes(made.add_argument_group("of Kubernetes"))
    made.add_argument("--json", action="store_true", help="print JSON")
    made.add_argument("run", nargs="*", metavar="-- OPTION", help="the options of bench run")
    return made


def _add_slurm(slurm: argparse._ArgumentGroup) -> None:
    slurm.add_argument("--partition", default="", help="such as gpu")
    slurm.add_argument("--gres", default="", help="such as gpu:1; Kubernetes: nvidia.com/gpu:1")
    slurm.add_argument("--account", default="", help="who pays")
    slurm.add_argument(
        "--array-parallelism", type=count, default=256, metavar="N", help="jobs at once (256)"
    )
    slurm.add_argument(
        "--set",
        action="append",
        type=setting,
        default=[],
        metavar="KEY=VALUE",
        help="any other option of sbatch, such as cpus-per-task=8, or resource of Kubernetes, such"
        " as memory=64Gi; may be given several times",
    )


def _add_kubernetes(kubernetes: argparse._ArgumentGroup) -> None:
    kubernetes.add_argument(
        "--dry-run", action="store_true", help="write manifests and Dockerfiles; you apply them"
    )
    for name, metavar, about in (
        ("claim", "PVC", "the PersistentVolumeClaim that the folder is on (framework-pilot)"),
        ("mount", "PATH", "where that volume is, here and in the pods; default: above the folder"),
        ("namespace", "NAME", "default: kubectl's"),
        ("image", "IMAGE", "what the pods run; default: a name of the pilot's own"),
        ("base", "IMAGE", "what the images are built on, best with its digest"),
    ):
        kubernetes.add_argument(f"--{name}", default="", metavar=metavar, help=about)


def add_collect(commands: Any) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        "collect",
        help="bring the rows of a submitted pilot into one CSV",
        description="Merge what the jobs of bench submit have written into one CSV, and name what"
        " is missing and why. It may be called at any time, and as often as one likes.",
    )
    made.add_argument("folder", type=Path, metavar="DIR")
    made.add_argument("--out", type=Path, required=True, metavar="FILE", help="the CSV")
    made.add_argument("--follow", action="store_true", help="until all jobs have ended")
    made.add_argument("--cancel", action="store_true", help="end what waits or runs first")
    made.add_argument(
        "--ended", action="store_true", help="no job runs any more: each cell gets its row now"
    )
    made.add_argument("--json", action="store_true", help="print JSON")
    return made


def setting(text: str) -> tuple[str, str]:
    """KEY=VALUE of sbatch; nothing that could begin a line of its own in its script."""
    key, equals, value = text.partition("=")
    if not (equals and value and _KEY.fullmatch(key) and value.isprintable()):
        raise argparse.ArgumentTypeError(f"{text!r}: write KEY=VALUE, such as cpus-per-task=8")
    return key, value


def _engines() -> str:
    return "; ".join(f"{name}: {about}" for name, about in ENGINES.items())
