"""The files of a Python module of the user's own: found by reading them, never by importing.

Worker half: the process that imports the module looks first whether they are still the same.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

from bench.errors import UsageError


def digest(folder: Path, module: str) -> str:
    """sha256 of the names and contents of ``files``: the same wherever the folder lies."""
    parts = [
        f"{path.relative_to(folder).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        for path in files(folder, module)
    ]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def files(folder: Path, module: str) -> list[Path]:
    """The module's file, those of the packages around it, and what these import of ``folder``.

    UsageError where there is no such module, or a file is not Python.
    """
    if not (mine := _file(folder, module)):
        raise UsageError(
            f"there is no module {module} in {folder}: name its folder (path), or start from there"
        )
    found: dict[Path, str] = {}
    waiting = [(mine, module), *_around(folder, module)]
    while waiting:
        path, name = waiting.pop()
        if path in found:
            continue
        found[path] = name
        for imported in _imports(path, name):
            if other := _file(folder, imported):
                waiting += [(other, imported), *_around(folder, imported)]
    return sorted(found)


def _file(folder: Path, module: str) -> Path | None:
    place = folder.joinpath(*module.split("."))
    tried = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    return next((path for path in tried if path.is_file()), None)


def _around(folder: Path, module: str) -> Iterator[tuple[Path, str]]:
    """The packages that Python imports on the way to a module; some have no file."""
    while module := module.rpartition(".")[0]:
        if path := _file(folder, module):
            yield path, module


def _imports(path: Path, module: str) -> Iterator[str]:
    """The names that may be modules among all that a file imports."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UsageError(f"{path}{where}: not Python: {getattr(error, 'msg', error)}") from error
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            yield from filter(None, [base])
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)


def _base(node: ast.ImportFrom, package: str) -> str:
    """The absolute name of what stands behind ``from``."""
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - (node.level - 1)]
    return ".".join([*above, *filter(None, [node.module])])
