"""What the registry holds of a backend, as data.

A third party adds a backend through the entry-point group ``bench.backends``: an entry point
named after the backend that loads an ``Entry``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """One backend. What stands here the plan answers for, so no adapter has to.

    module: dotted name of the adapter, imported only by a worker.
    python: the interpreter its lock was made for.
    locks: devices that have a lock file ``<backend>-<device>.txt``.
    lock_folder: where another package keeps these; this project's are in ``backends/locks``.
    unlocked: devices that its framework runs on and that have no lock -> why not.
    modes: the modes it has; the first is its usual one (``default``).
    usual: where another mode is usual under a setting, written ``key=value``: that mode.
    imports: what the health check of an environment imports.
    formats: export formats -> the backend that reads them back.
    settings: keys of ``--setting`` that its adapter knows -> the values each takes; () for any.
    cache_dirs: environment variables that name its compile caches; each cell gets fresh ones.
    env: variables that its processes always need, with the reason in a comment at the entry.
    device_env: kind of device -> variables that a process on it needs.
    setting_env: setting -> the variable that carries it, for what is read at import.
    tuned_env: variables that the tuned track sets.
    preallocation: variables that keep it from taking an accelerator's memory in advance; none where
    it does not. no_pool: settings, written ``key=value``, under which it does not.
    fallbacks: lock to use instead where a lock's packages cannot be found.
    sources: distributions that are built with the environment -> why no wheel of them will do.
    capabilities: module of what only the workload ``capability`` asks for (bench/capabilities.py).
    generates: module of its decoder with a cache (bench/generation.py).
    serves: module that runs a user's own model file (bench/worker/served.py).
    rank_env: the variable in which its launcher tells each process its rank; "" where one process
    drives all devices.
    trains: whether it has training at all. modules: whether it runs PyTorch's modules, so that it
    has a user's own (the model ``module``).
    prepare: module that is run once in a new environment, such as to compile operators.
    public: module of the framework's own public models, which ``bench fairness`` measures against.
    public_lock: the lock whose packages have them.
    archived: since when its upstream is archived; every table and row says so.
    distribution: its name on the package index, where that is not the backend's.
    """

    module: str
    locks: tuple[str, ...]
    modes: tuple[str, ...]
    imports: tuple[str, ...]
    formats: Mapping[str, str]
    unlocked: Mapping[str, str] = field(default_factory=dict)
    usual: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cache_dirs: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    device_env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    setting_env: Mapping[str, str] = field(default_factory=dict)
    tuned_env: Mapping[str, str] = field(default_factory=dict)
    preallocation: Mapping[str, str] = field(default_factory=dict)
    no_pool: tuple[str, ...] = ()
    fallbacks: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    capabilities: str = ""
    python: str = "3.11"
    generates: str = ""
    serves: str = ""
    rank_env: str = ""
    trains: bool = True
    modules: bool = False
    prepare: str = ""
    public: str = ""
    public_lock: str = "cpu"
    archived: str = ""
    distribution: str = ""
    lock_folder: Path | None = None
