"""Ease: how long the native model and training code is, counted from the adapters' sources."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from bench import backends_index
from bench.envs.locks import ROOT
from bench.score import evidence
from bench.score.evidence import Evidence, Subject

LINES_HALF = 400.0  # four hundred lines for two models and their loops cost half the marks
_NATIVE = ("models", "programs", "sessions")
_OURS = ("layouts", "stepwise", "answers", "exports", "public", "adapter")
"""What an adapter needs for this program, not for its framework."""


def ease(backends: Iterable[str]) -> list[Evidence]:
    """Lines of models and training loops, those that an adapter borrows from another included."""
    found = []
    for backend in backends:
        if backend not in backends_index.names():
            continue
        package = ROOT.joinpath(*backends_index.find(backend).module.split(".")[:-1])
        files, count = _counted(package)
        if not files:
            continue  # another package's backend keeps its own order
        source = [str(path.relative_to(ROOT)) for path in files]
        subject = Subject(backend, "ease", "native code", source)
        found.append(evidence.costs(subject, count, "lines", at=LINES_HALF))
    return found


@cache
def _counted(package: Path) -> tuple[list[Path], int]:
    """The files of an adapter's native code and their lines."""
    adapter = package / "adapter.py"
    seeds = _imported(adapter) if adapter.is_file() else ()
    files = sorted(_reached(path for path in seeds if path.stem in _NATIVE))
    return files, sum(lines(path.read_text(encoding="utf-8")) for path in files)


def lines(source: str) -> int:
    """Lines that hold code: no comments, no docstrings, no blank lines, no imports."""
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt) and not isinstance(node, ast.Import | ast.ImportFrom):
            found |= _own(node)
    return len(found)


def _own(node: ast.stmt) -> set[int]:
    """A simple statement's lines, or the head of one with a body."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return set()
    body = getattr(node, "body", None)
    last = node.end_lineno or node.lineno
    if body:
        last = max(node.lineno, body[0].lineno - 1)
        if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            last = max(node.lineno, body[0].value.lineno - 1)
    decorators = [one.lineno for one in getattr(node, "decorator_list", [])]
    return set(range(node.lineno, last + 1)) | set(decorators)


def _reached(seeds: Iterable[Path]) -> set[Path]:
    """Files of ``backends`` that the seeds import, directly or not."""
    found: set[Path] = set()
    left = [path for path in seeds if path.is_file()]
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            left += _imported(path)
    return found


def _imported(path: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("backends"):
            names = [f"{node.module}.{one.name}" for one in node.names] + [str(node.module)]
            for name in names:
                file = ROOT.joinpath(*name.split(".")).with_suffix(".py")
                if file.is_file() and file.stem not in _OURS:
                    yield file
