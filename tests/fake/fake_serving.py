"""The fake framework's service: a file's text is its milliseconds a request, and how it fails."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.contract import Cell, Settings
from bench.worker.feeds import Feed, Input


def inputs(path: Path) -> list[Input]:
    kind = path.read_text()
    if kind == "torn":
        raise ValueError("this file ends early")
    first = 4 if kind == "static" else "N"
    return [Input("x", "float32", (first, "width" if kind == "wide" else 2))]


def unsupported(cell: Cell) -> str | None:
    batches = cell.precision == "int8" and cell.batch > 1
    return "the fake quantises nothing in batches" if batches else None


class Server:
    def __init__(self, cell: Cell, kind: str, given: list[Feed]) -> None:
        self.seconds = float(kind) / 1000 if kind.isdigit() else 0.0
        self.answer = np.full(2, np.nan if kind == "nan" else 1.0)
        if cell.precision == "int8":
            self.answer *= 0.9
        self.given = given

    def run(self, index: int) -> Sequence[np.ndarray]:
        time.sleep(self.seconds)
        assert self.given[index]["x"].dtype == np.float32
        return [self.answer]

    def facts(self) -> Settings:
        return {"requests": len(self.given)}


def serve(cell: Cell, path: Path, given: list[Feed], folder: Path) -> Server:
    return Server(cell, path.read_text(), given)
