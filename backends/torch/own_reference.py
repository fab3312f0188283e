"""Make weights, data and trace of a PyTorch module of the user's own, in float64 on the CPU.

``python -m backends.torch.own_reference TASK.json`` under torch's own environment;
``workloads.reference`` writes the task. There is no second implementation to check it against; what
would make it no reference (outputs that are random, or not finite) is an error in one line.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from backends.torch import float64, own_module
from backends.torch.own_module import raised
from backends.torch.reference import NOISY_SAMPLES, STEPS
from bench import parity
from bench.contract import Batch, BenchError, inputs_of
from bench.dims import ModuleDims
from workloads import SizeSpec, batches, tensors

Arrays = dict[str, np.ndarray]

MODEL = "module"
SAMPLES = 64
"""Of each split, at least: batches of more repeat them, as noise does."""

LARGEST = 4_000_000
"""Numbers in the outputs that a trace holds, twice, as text: some 80 MB."""

DTYPES = (torch.float32, torch.int64)


def main(argv: list[str]) -> int:
    task = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    spec, out = SizeSpec.from_json(task["spec"]), Path(task["out"])
    assert isinstance(spec.dims, ModuleDims)
    try:
        trace = make(spec, spec.dims, out=out)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    trace = {"model": MODEL, "size": task["size"], **trace}
    (out / "trace.json").write_text(json.dumps(trace), encoding="utf-8")
    return 0


def make(spec: SizeSpec, dims: ModuleDims, *, out: Path) -> dict[str, Any]:
    """Write the weights and the data; the trace."""
    initial = weights(dims, own_module.make(dims))
    batch = spec.gate_batch or spec.batch
    data = draw(dims, max(SAMPLES, batch))
    for name, given in (("weights", initial), ("data", data)):
        tensors.save(out / f"{name}.safetensors", given)
    cut = batches.make(data, model=MODEL, batch=batch, train_batches=STEPS, infer_batches=1)
    probe(dims, initial, cut.train[0])
    net = float64.network(dims, initial)
    served = batches.held_out(data, model=MODEL, batch=NOISY_SAMPLES, limit=NOISY_SAMPLES)[0]
    with raised(dims, "in float64, forward, loss or backward"):
        exported, before = float64.logits(net, served), float64.logits(net, cut.infer[0])
        losses = float64.losses(spec, net, cut.train)
        after = float64.logits(net, cut.infer[0])
    if not np.isfinite([*losses, before.sum(), after.sum(), exported.sum()]).all():
        raise BenchError(f"{dims.factory}: losses or outputs are not finite: lower optimizer.lr")
    return {
        "param_count": sum(one.numel() for one in net.parameters()),
        "batch": batch,
        "optimizer": dataclasses.asdict(spec.optimizer),
        "losses": losses,
        "logits": parity.sampled(before).tolist(),
        "logits_after": parity.sampled(after).tolist(),
        "flops_per_sample": flops(dims, initial, cut.infer[0]),
        "export": {"logits": parity.sampled(exported).tolist()},
    }


def weights(dims: ModuleDims, net: nn.Module) -> Arrays:
    """The whole state: parameters and persistent buffers."""
    state = net.state_dict().items()
    return {name: _array(f"{dims.factory}: {name} of its state", value) for name, value in state}


def draw(dims: ModuleDims, count: int) -> Arrays:
    """train.* and test.*, each what one call of ``example`` makes: [count, ...]."""
    generator = torch.Generator().manual_seed(own_module.SEED)
    found: Arrays = {}
    for split in ("train", "test"):
        made = own_module.example(dims, count, generator)
        if not (isinstance(made, tuple) and len(made) == 2):
            raise BenchError(f"{dims.factory}: example must return a tuple (inputs, target)")
        inputs, target = made
        inputs = tuple(inputs) if isinstance(inputs, Sequence) else (inputs,)
        named = zip((*inputs_of(MODEL, len(inputs)), "label"), (*inputs, target), strict=True)
        for name, value in named:
            what = f"{dims.factory}: example's {'target' if name == 'label' else name}"
            array = _array(what, value)
            if array.shape[:1] != (count,):
                raise BenchError(f"{what} is {array.shape}: its first dimension must be {count}")
            found[f"{split}.{name}"] = array
    return found


def _array(what: str, value: object) -> np.ndarray:
    if not isinstance(value, Tensor):
        raise BenchError(f"{what} is a {type(value).__name__}, not a tensor")
    if value.dtype not in DTYPES:
        raise BenchError(f"{what} is {value.dtype}: make it torch.float32 or torch.int64")
    return value.detach().cpu().numpy()


def probe(dims: ModuleDims, initial: Arrays, batch: Batch) -> None:
    """Whether outputs are one tensor, always the same one, and the loss of it is a number."""
    for training in (True, False):
        first, second = (
            outputs(dims, initial, batch, training=training, seed=seed) for seed in (1, 2)
        )
        if not torch.equal(first, second):
            raise BenchError(
                f"{dims.factory}: two passes over one batch differ: its random layers must be "
                "those of torch.nn (nn.Dropout), whose dropout is set to 0"
            )
        if first.numel() > LARGEST:
            raise BenchError(
                f"{dims.factory}: the outputs of a gate's batch are {first.numel()} numbers: set "
                f"gate_batch to {max(1, LARGEST * len(first) // first.numel())}"
            )
    with raised(dims, "loss"):
        found = own_module.loss(dims)(first, torch.from_numpy(batch["label"]))
    if not isinstance(found, Tensor) or found.dim():
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise BenchError(f"{dims.factory}: loss returns {shape}: it must return one number")


def outputs(
    dims: ModuleDims, initial: Arrays, batch: Batch, *, training: bool, seed: int
) -> Tensor:
    """Of a fresh module, in float32."""
    net = _fresh(dims, initial).train(training)
    torch.manual_seed(seed)
    with raised(dims, "forward"):
        found = net(*_inputs(batch))
    if not isinstance(found, Tensor):
        raise BenchError(
            f"{dims.factory}: forward returns a {type(found).__name__}: it must return one tensor"
        )
    size = len(batch["label"])
    if found.dim() < 2 or len(found) != size or not found.is_floating_point():
        raise BenchError(
            f"{dims.factory}: forward returns {found.dtype} {tuple(found.shape)}: it must return "
            f"floats ({size}, ...), of each sample a row"
        )
    return found.detach()


def flops(dims: ModuleDims, initial: Arrays, batch: Batch) -> int:
    """Of one sample's forward pass, as PyTorch counts them: products of matrices, convolutions.

    Counted is only what is made of operators that it knows: so not in evaluation, where a
    Transformer may be one operator, nor with the kernels of oneDNN (an LSTM) or of attention.
    """
    net = _fresh(dims, initial).train()
    counter = FlopCounterMode(display=False)
    plain = torch.backends.mkldnn.flags(enabled=False)
    with raised(dims, "forward"), sdpa_kernel(SDPBackend.MATH), plain, counter:
        net(*_inputs(batch))
    return round(counter.get_total_flops() / len(batch["label"]))


def _fresh(dims: ModuleDims, initial: Mapping[str, np.ndarray]) -> nn.Module:
    net = own_module.make(dims)
    net.load_state_dict({name: torch.from_numpy(np.array(one)) for name, one in initial.items()})
    return net


def _inputs(batch: Batch) -> list[Tensor]:
    return [torch.from_numpy(value) for name, value in batch.items() if name != "label"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
