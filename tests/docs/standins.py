"""What stands in for frameworks, accelerators and hours, so that a page's ``bench run`` is run.

The plan, the processes, the gate, the rows and the summary are real. The fake backend computes
under the first framework's name, on this machine's CPUs, at size tiny, once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from backends.registry import BACKENDS
from bench import backends_index
from bench.infer import options as infer_options
from tests.fake.fake_entries import FAKE as ENTRY
from tests.harness import FAKE

INSTEAD = {
    "device": "cpu",
    "size": "tiny",
    "repeats": 1,
    "threads": 1,
    "schedule": "sequential",
    "timeout": 60.0,
    "load_seconds": 0.2,
    "python": [f"torch={sys.executable}", f"onnxruntime={sys.executable}"],
}
"""For choices of a page that would take hours, a GPU or a place of the site's."""
LISTS = ("precision", "mode", "batch", "compile", "track")
"""Of each the last is taken, for the first is mostly what is usual; the fake service has only that.
Of workloads the first.
"""
TAKEN = ("module", "capabilities", "rank_env", "serves", "python")


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake backend under the names of frameworks, for this process and its workers."""
    monkeypatch.syspath_prepend(str(FAKE))
    fake = {name: getattr(ENTRY, name) for name in TAKEN}
    made = {
        name: replace(
            entry, **fake, formats=dict.fromkeys(entry.formats, name), prepare="", generates=""
        )
        for name, entry in BACKENDS.items()
    }
    monkeypatch.setattr(backends_index, "BACKENDS", made)


def cheap(asked: argparse.Namespace) -> None:
    """Change a parsed ``bench run`` so that it takes seconds."""
    serves = infer_options.asked(asked)
    asked.backend = "onnxruntime" if serves or asked.backend == "onnxruntime" else "torch"
    asked.workload = asked.workload.split(",")[0]
    for name in LISTS:
        if value := getattr(asked, name):
            setattr(asked, name, value.split(",")[0 if serves else -1])
    name = asked.out.name if asked.out else "rows.csv"
    asked.out = Path(tempfile.mkdtemp(dir="."), name)  # the page's may be there
    refused = infer_options.OTHERS if serves else ()
    vars(asked).update({name: value for name, value in INSTEAD.items() if name not in refused})


def choices(asked: argparse.Namespace) -> str:
    """What tells one cheap command from another: stand-ins make many the same."""
    same = {"out", "cluster", "catalogue", "of_file", "parser", "command"}
    return str([(name, value) for name, value in vars(asked).items() if name not in same])
