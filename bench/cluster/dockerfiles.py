"""Images: of each environment one, and one that gathers them, for what is compared is in one pod.

A word of the user's in them is none but the base, whose letters bench.cluster.plan limits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.cluster.manifests import HOME
from bench.envs import build

BASE = "python:3.11.13-bookworm"
"""Not the slim one: torch's compiler and DeepSpeed's operators need the C++ compiler in it."""
USER = "65532:65532"
CODE = ("bench", "backends", "workloads")
PYTHON = f"{HOME}/.venv/bin/python"
FETCH = "from workloads import packages; packages.fetch()"


@dataclass(frozen=True)
class Built:
    """The image of one backend's environment. tag: changes with the lock and nothing else."""

    backend: str
    device: str

    @property
    def file(self) -> str:
        return f"Dockerfile.{self.backend}-{self.device}"

    @property
    def tag(self) -> str:
        digest = build.path_of(self.backend, self.device)[1]
        return f"framework-pilot-{self.backend}-{self.device}:{digest}"


def of_backend(built: Built, *, base: str) -> str:
    about = f"The environment of {built.backend} on {built.device}, from its lock of hashes."
    # It runs uv with --require-hashes, and imports the framework when all is there.
    steps = [*_code(), _run(PYTHON, "-m", "bench.envs", built.backend, built.device)]
    return _file([about], base, steps)


def gathering(images: Iterable[Built], *, base: str) -> str:
    """All of a pilot's environments, and the packages that carry data, which no pod can fetch."""
    about = [
        "The harness, its data, and the environments of a pilot's backends.",
        "Build them first.",
    ]
    # Gigabytes come before the code, which changes more often.
    copies = [f"COPY --from={one.tag} {HOME}/envs/ {HOME}/envs/" for one in images]
    return _file(about, base, [*copies, *_code(), _run(PYTHON, "-c", FETCH)])


def _file(about: Sequence[str], base: str, steps: Sequence[str]) -> str:
    # What is installed is the same for all images and comes first, so that it is built once.
    harness = [PYTHON, "-m", "pip", "install", "--no-cache-dir", "--no-deps", "--require-hashes"]
    harness += ["--only-binary", ":all:", "--requirement", "locks/harness.txt"]
    lines = [
        *(f"# {line}" for line in about),
        "# Written by bench submit --engine kubernetes --dry-run. Only the build has a network.",
        *_pinned(base),
        f"ARG BASE={base}",
        "FROM ${BASE}",
        "# An index of the site's own; what comes from it has to have the locks' hashes.",
        "ARG PIP_INDEX_URL",
        f"ENV BENCH_ENVS={HOME}/envs BENCH_CACHE={HOME}/cache PYTHONPATH={HOME} UV_NO_CACHE=1",
        "ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        f"WORKDIR {HOME}",
        "COPY locks/harness.txt locks/harness.txt",
        _run("python", "-m", "venv", f"{HOME}/.venv"),
        _run(*harness),
        *steps,
        f"USER {USER}",
    ]
    return "\n".join(lines) + "\n"


def _code() -> list[str]:
    """With its bytecode: a pod could not write it, and each worker would compile it anew."""
    copies = [f"COPY {name}/ {name}/" for name in CODE]
    return [*copies, _run(PYTHON, "-m", "compileall", "-q", *CODE)]


def _pinned(base: str) -> list[str]:
    if "@sha256:" in base:
        return []
    return ["# This base is pinned by a tag only, which can be moved: --base IMAGE@sha256:DIGEST."]


def _run(*command: str) -> str:
    """Without a shell."""
    return f"RUN {json.dumps(command)}"
