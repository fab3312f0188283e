"""A harmless payload in the pickles of a checkpoint: is it executed by who loads the file?

Worker half. A pickle may name any function to call while it is read (docs.python.org, "pickle").
This one makes an empty folder.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

PICKLE = b"\x80"  # how a pickle of protocol 2 or later begins


class _Call:
    """Pickled, it is a call of ``os.mkdir``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def poison(folder: Path, marker: Path) -> list[str]:
    """Put the payload, which makes the folder ``marker``, in place of every pickle below
    ``folder``, also of those within zip archives (PyTorch's format). The files' names.
    """
    payload = pickle.dumps(_Call(marker), protocol=2)
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and _poisoned(path, payload)
    ]


def _poisoned(path: Path, payload: bytes) -> bool:
    if zipfile.is_zipfile(path):
        return _zip_poisoned(path, payload)
    with path.open("rb") as file:
        if file.read(1) != PICKLE:
            return False
    path.write_bytes(payload)
    return True


def _zip_poisoned(path: Path, payload: bytes) -> bool:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    pickles = [name for name, content in members.items() if content[:1] == PICKLE]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, payload if name in pickles else content)
    return bool(pickles)
