"""What is fuzzed: readers of files and messages that others may have written or damaged.

A target takes any bytes. It may raise ``BenchError`` with one line of words, and nothing else.
"""

from __future__ import annotations

import atexit
import contextlib
import csv
import gzip
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from bench import cli, grid, options, pilot_file, pilot_options
from bench.backends_index import find
from bench.child import received
from bench.child.pipes import PIECE, Pipes
from bench.cluster.plan import How, PilotFolder, Plan, Share
from bench.errors import BenchError
from bench.rows import reading, schema
from tests.cells import cell
from tests.rows import export_row, failed_row, ok_row
from workloads import spec

ROOT = Path(__file__).resolve().parents[2]
CELL = cell()
ANSWERS = ("start", "warm_up", "run", "climb")


class Target(NamedTuple):
    """seeds: inputs that are right, to be damaged. words: what damage may put in."""

    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...]


@cache
def scratch() -> Path:
    """In memory where there is such a place: readers of files are given a million of them."""
    memory = Path("/dev/shm")  # a folder of its own is made in it
    place = tempfile.mkdtemp(prefix="bench-fuzz-", dir=memory if memory.is_dir() else None)
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return Path(place)


def in_file(name: str, data: bytes) -> Path:
    path = scratch() / name
    path.write_bytes(data)
    return path


def rows(data: bytes) -> None:
    """What is read can be written again, and is then the same."""
    for line in reading.parse(Path("rows.csv"), data):
        known = {name: line.row[name] for name in schema.BY_NAME}
        assert schema.typed(schema.text(known)) == known


def steps(data: bytes) -> None:
    for start, end, times in reading.members(Path("rows.steps.jsonl.gz"), data):
        assert 0 <= start < end <= len(data)
        assert isinstance(times, dict)


def answer(data: bytes) -> None:
    """The first byte chooses the command that is answered."""
    received.answer(ANSWERS[data[0] % len(ANSWERS)] if data else "run", data[1:], role="train")


def row_file(data: bytes) -> None:
    columns, _ = received.row(in_file("row.json", data))
    assert not set(columns) & received.PARENTS


@cache
def _pipes() -> tuple[Pipes, int]:
    pipes = Pipes(scratch() / "commands", scratch() / "replies")
    return pipes, os.open(scratch() / "replies", os.O_WRONLY)


def channel(data: bytes) -> None:
    """Bytes through the real named pipe, and every whole line of them as an answer."""
    pipes, end = _pipes()
    os.write(end, data[: PIECE - 1] + b"\n")
    pipes.receive()
    refused: BenchError | None = None
    while pipes.ready():
        try:
            received.answer("run", pipes.reply(), role="train")
        except BenchError as error:
            refused = error
    if refused:
        raise refused


def pilot(data: bytes) -> None:
    pilot_file.read(in_file("pilot.toml", data))


def workload(data: bytes) -> None:
    spec.read(in_file("workload.toml", data), spec.Workload)


def plan(data: bytes) -> None:
    """A pilot's plan, and everything that is asked of it."""
    in_file("plan.json", data)
    found = PilotFolder(scratch()).plan()
    for share in found.shares:
        for cell_id, _ in share.keys:
            assert found.cell(cell_id).id == cell_id


def cell_of_plan(data: bytes) -> None:
    """A cell, in a plan that is right."""
    plan(BEFORE + data + AFTER)


def choices(data: bytes) -> None:
    """Options of ``bench run``, one a line, down to the cells."""
    argv = ["run", *data.decode("utf-8", "replace").split("\n")]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            asked = pilot_options.parsed(_command_line(), argv)
    except SystemExit:  # argparse's usage, and --help
        return
    if asked.command.__module__ == "bench.run.command" and not asked.spec:
        grid.plan(options.request(asked, say=lambda _: None), entry=find)


_command_line = cache(cli.command_line)


def _csv(*some: dict[str, Any]) -> bytes:
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(column.name for column in schema.COLUMNS)
    lines.writerows(schema.text(row).values() for row in some)
    return out.getvalue().encode()


def _plan(cells: Mapping[str, Any]) -> bytes:
    shares = [Share(name="1-cnn", keys=[(CELL.id, 1)])]
    known: dict[str, Any] = {
        "run_id": "0123abcd",
        "git_rev": "",
        "cwd": "/",
        "argv": [],
        "engine": "local",
    }
    made = Plan.model_construct(**known, how=How(time=5), shares=shares, cells=dict(cells))
    return made.model_dump_json(indent=1).encode()


def _members(*lines: object) -> bytes:
    return b"".join(gzip.compress(json.dumps(line).encode(), mtime=0) for line in lines)


COUNTS = {"block_steps": 1, "block_ns": [5, 6], "step_ns": []}
TIMES = {"cell_id": "a/b", "repeat": 1, **COUNTS}
BEFORE, _, AFTER = _plan({CELL.id: {}}).rpartition(b"{}")
JSON_WORDS = (
    *(b"null", b"true", b"NaN", b"1e999", b"-1", b"{}", b"[]", b'""', b"0", b"9" * 5000),
    *(b"[" * 5000, b'{"a":' * 5000, b'"\\ud800"', b'"status"', b'"reason"', b'"block_ns"'),
)
CSV_WORDS = (b",", b"\n", b'"', b"\r\n", b"\xef\xbb\xbf", b"nan", b"1e999", b"'=", b"[" * 5000)
TOML_WORDS = (b"[[", b"]]", b"=", b'"""', b"[" * 5000, b"{a=" * 3000, b"\n[size.x]\n", b"inf")
OPTIONS = tuple(
    b"\n--" + name
    for name in (
        *(
            b"setting\ndo=x",
            b"setting\n=",
            b"batch\n0",
            b"batch\nall",
            b"workload\nall",
            b"size\nbase",
        ),
        *(b"device\ncuda:0+1", b"device\n:", b"world-size\n2", b"threads\n-1", b"format\nonnx"),
        *(
            b"precision\nall",
            b"mode\nall",
            b"capability\nall",
            b"repeats\n3",
            b"nodes\n2",
            b"seed\nx",
        ),
    )
)

TARGETS = {
    "rows": Target(rows, (_csv(ok_row(), failed_row()), _csv(export_row())), CSV_WORDS),
    "steps": Target(
        steps, (_members(TIMES, {**TIMES, "repeat": 2}),), (b"\x1f\x8b\x08", b"\0" * 9)
    ),
    "answer": Target(answer, (b"\2" + json.dumps(TIMES).encode(), b"\0{}"), JSON_WORDS),
    "row_file": Target(
        row_file,
        (json.dumps({"row": {"steps": 3, "settings": {"a": [1]}}, "times": COUNTS}).encode(),),
        JSON_WORDS,
    ),
    "channel": Target(
        channel, (b'{"block_ns": [5]}\n{"status": "oom", "reason": "x"}',), JSON_WORDS
    ),
    "pilot": Target(
        pilot,
        (
            pilot_options.TEMPLATE.read_bytes(),
            re.sub(rb"(?m)^# (?=\w+ = |\[|\"\w)", b"", pilot_options.TEMPLATE.read_bytes()),
        ),
        TOML_WORDS,
    ),
    "workload": Target(workload, ((ROOT / "workloads" / "cnn.toml").read_bytes(),), TOML_WORDS),
    "plan": Target(plan, (_plan({CELL.id: CELL.to_json()}),), JSON_WORDS),
    "cell": Target(cell_of_plan, (json.dumps(CELL.to_json()).encode(),), JSON_WORDS),
    "choices": Target(choices, (b"--backend\ntorch,jax\n--workload\ncnn",), OPTIONS),
}
