"""Make what the workers read: weights, data and the weights to export, once, into the cache.

``python -m workloads.prepare MODEL SIZE`` prints one JSON line with the paths. The command
works in a process of its own, so that the one that measures stays small. What is made is
compared with the sha256 that the committed trace holds: parity figures are only worth
something for the very files that they were made with. A spec of the user's own (``--spec``) has no
committed trace: ``workloads.reference`` makes one for exactly these files, into the cache.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from bench import safetensors
from bench.contract import BenchError
from bench.dims import ModuleDims
from bench.errors import EXIT_USAGE, UsageError
from workloads import SizeSpec, cache, catalogue, reference, weights
from workloads.materials import DATA, WEIGHTS, exported_weights, materials
from workloads.own import modules
from workloads.reference import head_path, trace_path


@dataclass(frozen=True)
class Prepared:
    """Files of one model and size.

    weights: initial weights. export_weights: the same with a trained head. data: train.* and
    test.* tensors. trace: the reference's figures.
    """

    weights: Path
    export_weights: Path
    data: Path
    trace: Path


def ensure(model: str, size: str) -> Prepared:
    """The files of a reference workload's model and size, made if they are not in the cache yet.

    UsageError where something is missing that the user can bring, and where a made file is not
    the one that the committed trace belongs to.
    """
    spec, trace = catalogue.of_model(model, size), trace_path(model, size)
    made = materials(model, size, spec)
    try:
        expected = json.loads(trace.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no reference trace for {model} {size} ({error}): `make reference` makes it"
        ) from error
    has_head = weights.has_head(model, learns=spec.learns)
    exported = exported_weights(made, head_path(model, size) if has_head else None)
    _compare(made / WEIGHTS, expected["weights_sha256"])
    _compare(made / DATA, expected["data_sha256"])
    _compare(exported, expected["export"]["weights_sha256"])
    return Prepared(made / WEIGHTS, exported, made / DATA, trace)


def own(model: str, size: str, spec: SizeSpec, *, torch: Path) -> Prepared:
    """The files of the user's own spec; ``torch``: the interpreter that makes its reference."""
    if isinstance(spec.dims, ModuleDims):
        made = reference.of_module(size, spec, torch=torch)
        initial = made / WEIGHTS
        return Prepared(initial, initial, made / DATA, made / reference.TRACE)
    made = materials(model, size, spec)
    _check_gate(made / DATA, spec)
    found = reference.ensure(model, size, spec, made=made, torch=torch)
    has_head = weights.has_head(model, learns=spec.learns)
    exported = exported_weights(made, found / reference.HEAD if has_head else None)
    return Prepared(made / WEIGHTS, exported, made / DATA, found / reference.TRACE)


def _check_gate(data: Path, spec: SizeSpec) -> None:
    """Every backend is compared on a full batch of held-out samples, each of them once."""
    batch, there = spec.gate_batch or spec.batch, len(safetensors.read(data)["test.label"])
    if batch > there:
        raise UsageError(
            f"the parity gate takes a batch of {batch} held-out samples, but there are {there}: "
            f"set gate_batch to {there} or less"
        )


def _compare(path: Path, expected: str) -> None:
    """Refuse a file that is not the trace's."""
    found = cache.sums(path.parent).get(path.name)
    if found != expected:
        raise UsageError(
            f"{path} (sha256 {str(found)[:12]}) is not the file that the reference trace was made "
            f"with ({expected[:12]}): remove {path.parent} and run again; if it stays so, "
            "`make reference` makes the traces anew"
        )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workloads.prepare", description=__doc__)
    parser.add_argument("model", choices=(*weights.HEADS, modules.MODEL))
    parser.add_argument("size")
    parser.add_argument("--spec", help="of the user's own: a SizeSpec as JSON")
    parser.add_argument("--torch", type=Path, help="the interpreter that makes its reference")
    asked = parser.parse_args(argv)
    try:
        if asked.spec:
            spec = SizeSpec.from_json(json.loads(asked.spec))
            made = own(asked.model, asked.size, spec, torch=asked.torch)
        else:
            made = ensure(asked.model, asked.size)
    except BenchError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    print(json.dumps({key: str(path) for key, path in dataclasses.asdict(made).items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
