"""A site with one backend called ``fake``, whose environments the stand-in for uv makes."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import bench.envs.uv
from backends.entry import Entry
from bench import backends_index, envs
from bench.envs import locks, pip_settings
from tests import fake_uv

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
ENTRY = Entry(
    "nowhere",
    python=VERSION,
    locks=("cpu", "cuda"),
    modes=("eager",),
    imports=("json",),
    formats={},
    fallbacks={"cpu": "cuda"},
)


def locked(version: str) -> str:
    """A lock of one package."""
    return f"package=={version} --hash=sha256:{'0' * 64}\n"


@dataclasses.dataclass
class Site:
    """A backend called ``fake`` with two locks, and the stand-in that installs them."""

    folder: Path
    entry: Entry = ENTRY

    def lay(self) -> None:
        """Write the locks and the stand-in; nothing of ``bench`` is changed by it."""
        for device in self.entry.locks:
            self.lock(device).write_text(locked(f"1+{device}"), encoding="utf-8")
        self.uv.write_text(
            f'#!/bin/sh\nexec {fake_uv.PYTHON} {fake_uv.__file__} {self.folder} "$@"\n',
            encoding="utf-8",
        )
        self.uv.chmod(0o755)

    def use(self, patch: Any) -> None:
        """Lead ``bench`` here; ``patch`` has setattr and setenv (pytest's monkeypatch does)."""
        patch.setenv("BENCH_ENVS", str(self.folder / "envs"))
        patch.setattr(locks, "LOCKS", self.folder)
        patch.setattr(bench.envs.uv, "program", lambda: str(self.uv))
        patch.setattr(pip_settings, "effective", lambda python: {})
        patch.setattr(backends_index, "names", lambda: ("fake",))
        patch.setattr(backends_index, "find", lambda name: self.entry)

    @property
    def uv(self) -> Path:
        return self.folder / "uv"

    def lock(self, device: str) -> Path:
        return self.folder / f"fake-{device}.txt"

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def say(self, name: str, text: str = "") -> None:
        (self.folder / name).write_text(text, encoding="utf-8")


class _Patch:
    """The two methods of monkeypatch that ``Site.use`` needs, for a process of its own."""

    setattr = staticmethod(setattr)
    setenv = staticmethod(os.environ.__setitem__)


def build(folder: str) -> None:
    """What a second process runs: ensure the cpu environment, with its log on standard output."""
    Site(Path(folder)).use(_Patch)
    env = envs.ensure("fake", "cpu", log=lambda line: print(line, flush=True))
    print(env.python, flush=True)
