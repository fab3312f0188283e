"""The options of the commands that say what a result rests on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench import pilot_options
from bench.pilot_file import PilotFile
from workloads.catalogue import REFERENCE


def add_sbom(commands: Any) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        "sbom",
        help="list what a backend's environment is made of, with licences, as CycloneDX",
        description="Writes a software bill of materials (CycloneDX 1.6, JSON) of an environment,"
        " built if need be, and names packages whose licence is copyleft or unknown.",
    )
    made.add_argument("backend", help="one backend's name (bench backends lists them)")
    made.add_argument("--device", default="cpu", help="cpu (default), cuda, rocm, tpu")
    made.add_argument(
        "--python", action="append", default=[], metavar="BACKEND=PATH", help="as for run"
    )
    made.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    return made


def add_audit(commands: Any) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        "audit",
        help="match every lock with known advisories, and fail on severe ones",
        description="Needs no network: advisories are files in OSV form, such as OSV's export of"
        " PyPI, unpacked, or what bench advisories has fetched. One without a severity counts as"
        " the worst.",
    )
    made.add_argument("--backend", default="all", help="a comma list, or all (default)")
    made.add_argument(
        "--advisories", type=Path, required=True, metavar="PATH", help="a file or folder of OSV"
    )
    made.add_argument(
        "--fail-on",
        choices=("low", "medium", "high", "critical"),
        default="high",
        help="exit with 1 from this severity on (high)",
    )
    made.add_argument("--json", action="store_true", help="print JSON")
    return made


def add_verify(commands: Any) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        "verify",
        help="look whether results are as they were written, and what they rest on is there",
        description="Of each file the manifest, of each row the revision, the lock, the id, the"
        " settings and the spec. What cannot be told here is said, and is not counted as fine.",
    )
    made.add_argument("results", type=Path, nargs="*", metavar="RESULTS", help="files or folders")
    made.add_argument(
        "--locks", action="store_true", help="look at the locks: hashes, and sources with why"
    )
    made.add_argument(
        "--signers", type=Path, metavar="FILE", help="who may have signed: a file of ssh-keygen's"
    )
    made.add_argument(
        "--strict", action="store_true", help="exit with 1 also where something cannot be verified"
    )
    made.add_argument("--json", action="store_true", help="print JSON")
    pilot_options.add(made, _of_verify)
    made.set_defaults(catalogue=REFERENCE)
    return made


def _of_verify(file: PilotFile) -> pilot_options.Defaults:
    yield "catalogue", file.specs()


def add_sign(commands: Any) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        "sign",
        help="sign results with an SSH key of yours",
        description="Signs the manifest beside each file, by ssh-keygen; bench verify --signers"
        " checks it.",
    )
    made.add_argument("results", type=Path, nargs="+", metavar="RESULTS", help="files or folders")
    made.add_argument("--key", type=Path, required=True, metavar="FILE", help="a private key")
    return made
