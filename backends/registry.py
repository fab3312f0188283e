"""The backends, as data. Nothing here imports a framework, so ``--help`` stays light.

A third party adds a backend through the entry-point group ``bench.backends``: an entry point
named after the backend that loads an ``Entry``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Entry:
    """One backend.

    module: dotted name of the adapter, imported only by a worker.
    python: the interpreter its lock was made for.
    locks: devices that have a lock file ``locks/<backend>-<device>.txt``.
    modes: the modes it has; the first is its usual one (``default``).
    imports: what the health check of an environment imports.
    cache_dirs: environment variables that name its compile caches; each cell gets fresh ones.
    env: variables that its processes always need, with the reason in a comment at the entry.
    formats: export formats -> the backend that reads them back.
    fallbacks: lock to use instead where a lock's packages cannot be found.
    """

    module: str
    python: str
    locks: tuple[str, ...]
    modes: tuple[str, ...]
    imports: tuple[str, ...]
    formats: Mapping[str, str]
    cache_dirs: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    fallbacks: Mapping[str, str] = field(default_factory=dict)


BACKENDS: Mapping[str, Entry] = MappingProxyType(
    {
        "torch": Entry(
            "backends.torch",
            python="3.11",
            locks=("cpu", "cuda"),
            modes=("eager", "compiled"),
            imports=("torch", "onnxscript"),
            formats={"onnx": "onnxruntime", "native": "torch"},
            cache_dirs=("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"),
            # The plain index carries the CUDA build only; it runs on a CPU too, at some 3 GB.
            fallbacks={"cpu": "cuda"},
        ),
        "onnxruntime": Entry(
            "backends.onnxruntime",
            python="3.11",
            locks=("cpu",),
            modes=("compiled",),
            imports=("onnxruntime", "onnx"),
            formats={"onnx": "onnxruntime"},
        ),
    }
)
