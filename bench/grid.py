"""From what was asked for to the cells that will run: pure, and everything is checked here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from typing import Any

from backends.entry import Entry
from bench import capabilities, conditions
from bench.child import preallocation
from bench.contract import GENERATE, NODES, Cell
from bench.dims import ModuleDims
from bench.errors import UsageError, unknown
from bench.pipeline import INPUT
from workloads import SizeSpec, catalogue
from workloads.catalogue import Catalogue

DEVICES = ("cpu", "cuda", "rocm", "tpu")
PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8")
MODES = ("eager", "graph", "compiled")
TRACKS = ("out-of-box", "tuned")
FORMATS = ("onnx", "native", "tflite")
COMPILE_CACHES = ("cold", "warm")
SHARDING = "sharding"
"""The setting: parameters, gradients or moments are split over the devices (``on``)."""
READER = "reader"
"""The setting of an export: another backend than the registry's reads the file back."""
RECOMPUTE = "recompute"
CAPABILITY = "capability"  # the workload whose cells ask one question each
SPEC = "spec"
"""In the id of cells of a size of the user's own: what that is, as a digest."""
EVERY = "all"  # of modes and formats: each backend's own, not those of others


@dataclass(frozen=True)
class Request:
    """What the user asked for. Empty ``batches`` and ``settings`` mean the workload's own."""

    backends: Sequence[str]
    workloads: Sequence[str]
    sizes: Sequence[str]
    devices: Sequence[str]
    precisions: Sequence[str] = ("fp32",)
    modes: Sequence[str] = ("default",)
    tracks: Sequence[str] = ("out-of-box",)
    formats: Sequence[str] = ("onnx",)
    compile_caches: Sequence[str] = ("cold",)
    world_sizes: Sequence[int] = (1,)
    capabilities: Sequence[str] = tuple(capabilities.CAPABILITIES)
    batches: Sequence[int] = ()
    settings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    device_of: Mapping[str, str] = field(default_factory=dict)  # of backends with one of their own
    brought: Collection[str] = ()  # backends whose interpreter the site provides
    repeats: int = 1
    threads: int = 1
    nodes: int = 1
    catalogue: Catalogue = catalogue.REFERENCE


@dataclass(frozen=True)
class Task:
    """One cell to run once. ``refused`` is the reason why it cannot even be started."""

    cell: Cell
    repeat: int
    spec: SizeSpec
    refused: str | None = None

    @property
    def key(self) -> tuple[str, int]:
        return self.cell.id, self.repeat


def choose(what: str, text: str, known: Iterable[str]) -> list[str]:
    """A comma list of known names, or ``all``; each name once, in the order given."""
    names = list(known)
    chosen = names if text == "all" else [part.strip() for part in text.split(",") if part.strip()]
    for name in chosen:
        if name not in names:
            raise unknown(what, name, [*names, "all"])
    if not chosen:
        raise UsageError(f"no {what} given: name one of {', '.join(names)}, or all")
    return list(dict.fromkeys(chosen))


def plan(request: Request, *, entry: Callable[[str], Entry]) -> list[Task]:
    """All tasks, repeats outermost, so that a drift of the machine hits every cell alike."""
    cells = [cell for backend in request.backends for cell in _cells(request, backend, entry)]
    unique = {cell.id: (cell, spec, refused) for cell, spec, refused in cells}
    _check_sizes(request, {cell.size for cell, *_ in cells})
    return [
        Task(cell, repeat, spec, refused)
        for repeat in range(1, request.repeats + 1)
        for cell, spec, refused in unique.values()
    ]


def _check_sizes(request: Request, planned: Collection[str]) -> None:
    """UsageError for a size of the user's that none of the workloads runs."""
    own = request.catalogue.own
    for size in request.sizes:
        if size in own and size not in planned:
            home = request.catalogue.home(own[size].model)
            raise UsageError(f"size {size} is a {own[size].model}: add --workload {home}")


Planned = tuple[Cell, SizeSpec, str | None]


def _cells(request: Request, backend: str, entry: Callable[[str], Entry]) -> Iterator[Planned]:
    found = entry(backend)
    known = request.catalogue
    of_model = cache(known.of_model)
    spec_of = cache(known.size)  # reading and checking a spec for every cell takes longest
    for workload in request.workloads:
        axes = _axes(request, backend, found, workload)
        for model, values in product(known.models(workload), product(*axes.values())):
            choice = dict(zip(axes, values, strict=True))
            if not known.has(model, choice["size"]):
                continue
            spec = spec_of(workload, model, choice["size"])
            cell = Cell(
                backend=backend,
                workload=workload,
                model=model,
                dims=spec.dims,
                optimizer=spec.optimizer,
                threads=_threads(request.threads, choice["world_size"], found),
                batch=choice.pop("batch") or spec.batch,
                mode=_mode(choice.pop("mode"), choice["settings"], found),
                **choice,
            )
            cell = _asking(cell, found) if cell.capability else cell
            refused = _refused(cell, found, brought=backend in request.brought)
            refused = refused or _reader(cell, entry, request.brought)
            if request.nodes > 1:
                refused = refused or _apart(cell, found, request.nodes)
                cell = replace(cell, settings={**cell.settings, NODES: str(request.nodes)})
            if cell.size in known.own:
                own = {SPEC: catalogue.digest(of_model(cell.model, cell.size))}
                cell = replace(cell, settings={**cell.settings, **own})
            yield cell, spec, refused


def _asking(cell: Cell, entry: Entry) -> Cell:
    """A capability says itself how many processes share the batch, and under which settings."""
    asked = capabilities.CAPABILITIES[cell.capability]
    processes = asked.world_size
    infers = not asked.trains and not entry.trains
    return replace(
        cell,
        world_size=processes,
        batch=max(1, cell.batch // processes),
        threads=_threads(cell.threads, processes, entry),
        settings={**cell.settings, **asked.settings},
        format=next(iter(entry.formats)) if infers else "",
    )


def _threads(threads: int, world_size: int, entry: Entry) -> int:
    """Of one process: the devices share the threads asked for, and each has one at least."""
    each = max(1, threads // world_size)
    return each if entry.rank_env else each * world_size


def _axes(request: Request, backend: str, entry: Entry, workload: str) -> dict[str, Sequence[Any]]:
    """The fields of a cell that were left to choose, and the values chosen for each."""
    formats = tuple(entry.formats) if EVERY in request.formats else request.formats
    exports = workload == "export"
    own = request.device_of.get(backend)
    return {
        "size": request.sizes,
        "device": (own,) if own else request.devices,
        "precision": request.precisions,
        "mode": entry.modes if EVERY in request.modes else request.modes,
        "track": request.tracks,
        "batch": request.batches or request.catalogue.batches(workload) or (None,),
        "world_size": request.world_sizes,
        "format": formats if exports else ("",),
        "capability": request.capabilities if workload == CAPABILITY else ("",),
        "compile_cache": request.compile_caches,
        "settings": _settings(request.settings),
    }


def _mode(asked: str, settings: Mapping[str, str], entry: Entry) -> str:
    """``default`` is the usual mode, which may depend on a setting."""
    if asked != "default":
        return asked
    usual = [entry.usual.get(f"{key}={value}") for key, value in settings.items()]
    return next((mode for mode in usual if mode), entry.modes[0])


def _refused(cell: Cell, entry: Entry, *, brought: bool) -> str | None:
    """What the registry alone already answers."""
    if not brought and cell.device not in entry.locks:
        return unlocked(cell.backend, cell.device, entry)
    if cell.mode not in entry.modes:
        return f"{cell.backend} has no {cell.mode} mode: it has {' and '.join(entry.modes)}"
    if cell.format and cell.format not in entry.formats:
        return f"{cell.backend} has no {cell.format} export: it has {', '.join(entry.formats)}"
    if cell.compile_cache == "warm" and not entry.cache_dirs:
        return f"{cell.backend} keeps no compiled code for a second process to find"
    found = _of_module(cell, entry) or _not_there_yet(cell, entry) or _fed(cell)
    return found or _unknown_setting(cell, entry)


def _of_module(cell: Cell, entry: Entry) -> str | None:
    """What a PyTorch module of the user's own cannot be run by, or with."""
    if not isinstance(cell.dims, ModuleDims):
        return None
    if not entry.modules:
        serves = "" if entry.trains else ": this backend serves its exports"
        return f"the model is a PyTorch module{serves}"
    if cell.world_size > 1:
        return "a module of the user's own is run by one process: world size 1"
    if RECOMPUTE in cell.settings:
        return f"the setting {RECOMPUTE} is of our own models, whose blocks are known"
    return None


def unlocked(backend: str, device: str, entry: Entry) -> str:
    """That a backend has no lock for a device, why, and the way around it."""
    why = f" ({entry.unlocked[device]})" if device in entry.unlocked else ""
    mend = f"bring an interpreter with --python {backend}=PATH"
    return f"there is no lock of {backend} for {device}{why}: {mend}"


def _reader(cell: Cell, entry: Callable[[str], Entry], brought: Collection[str]) -> str | None:
    """The backend that reads an exported file needs the same device."""
    if cell.workload != "export":
        return None
    reader = reader_of(cell, entry)
    if entry(reader).formats.get(cell.format) != reader:
        return f"{reader} does not read {cell.format} files"
    if reader == cell.backend or reader in brought or cell.device in entry(reader).locks:
        return None
    said = unlocked(reader, cell.device, entry(reader))
    return f"{cell.format} files are read by {reader}, and {said}"


def reader_of(cell: Cell, entry: Callable[[str], Entry]) -> str:
    """The backend that reads an exported file: the one asked for, else the registry's."""
    registered = entry(cell.backend).formats.get(cell.format, cell.backend)
    return cell.settings.get(READER, registered)


def _not_there_yet(cell: Cell, entry: Entry) -> str | None:
    if cell.capability:
        missing = f"the adapter of {cell.backend} has no module of capabilities"
        return None if entry.capabilities else missing
    if cell.workload == GENERATE and not entry.generates:
        return f"the adapter of {cell.backend} has no module that generates"
    if cell.world_size > 1 and cell.workload == GENERATE:
        return "prompts are answered by one process: world size 1"
    if cell.world_size > 1 and cell.format:
        return "a file is exported, and served, by one process: world size 1"
    return None


def _fed(cell: Cell) -> str | None:
    """Why no input pipeline can feed a cell."""
    trains = cell.trains and not cell.capability and cell.world_size == 1
    return None if trains or INPUT not in cell.settings else "input=pipeline feeds one that trains"


def _apart(cell: Cell, entry: Entry, nodes: int) -> str | None:
    """Why a cell cannot be shared by several machines."""
    if cell.capability:
        return "a capability is asked on one machine"
    if cell.world_size % nodes:
        return f"world size {cell.world_size} cannot be shared by {nodes} machines alike"
    if not entry.rank_env:
        return f"{cell.backend} drives its devices from one process here, on one machine"
    return None


def _unknown_setting(cell: Cell, entry: Entry) -> str | None:
    settings = {**entry.settings, **conditions.SETTINGS, **preallocation.settings(entry)}
    if cell.world_size > 1:
        settings |= {SHARDING: ("on",)}
    if cell.workload == "export":
        settings |= {READER: ()}
    for key, value in cell.settings.items():
        if key not in settings:
            known = " and ".join(settings)
            return f"{cell.backend} has no setting {key!r}: it has {known}"
        if settings[key] and value not in settings[key]:
            known = " or ".join(settings[key])
            return f"the setting {key} of {cell.backend} is {known}, not {value!r}"
    return None


def _settings(choices: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]
