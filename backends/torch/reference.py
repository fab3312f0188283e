"""Make a trace and a head: float64 PyTorch on the CPU, checked by plain numpy.

``python -m backends.torch.reference TASK.json`` under torch's own environment;
``workloads.reference`` writes the task. Out come ``trace.json``, the figures that every backend
must reproduce, and, where there is something to learn, the head to export; nothing where the
independent forward of ``workloads.numpy_forward`` differs by more than 1e-9.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from backends.torch import float64, greedy
from backends.torch.decoder import Decoder
from bench import parity, safetensors
from bench.contract import Batch, BenchError, ParityError
from bench.dims import CnnDims, DecoderDims, Dims
from bench.worker.samples import HELD_OUT_BATCH
from workloads import SizeSpec, batches, numpy_forward, tensors, weights

Arrays = dict[str, np.ndarray]

BOUND = 1e-9
"""Largest difference between the two float64 forwards, relative to the largest value."""

STEPS = 5
PARTS = (2, 4, 8)
"""Into which a batch is shared out where every device has BatchNorm statistics of its own."""
RIDGE = 1e-3
"""Weight of the penalty, relative to the mean square of the centred features."""

FIT_SAMPLES = 4000
EXPORT_SAMPLES = 16
ACCURACY_SAMPLES = 512
NOISY_SAMPLES = 4


def main(argv: list[str]) -> int:
    try:
        make(json.loads(Path(argv[0]).read_text(encoding="utf-8")))
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def make(task: dict[str, Any]) -> None:
    """Compute, check and write the head and the trace of one model and size."""
    model, spec = task["model"], SizeSpec.from_json(task["spec"])
    initial = dict(safetensors.read(Path(task["weights"])))
    data = safetensors.read(Path(task["data"]))
    trace: dict[str, Any] = {"model": model, "size": task["size"]}
    trace.update(_training(spec, model=model, initial=initial, data=data))
    trace["weights_sha256"] = task["sums"]["weights.safetensors"]
    trace["data_sha256"] = task["sums"]["data.safetensors"]
    out = Path(task["out"])
    if weights.has_head(model, learns=spec.learns):
        head = _head(model, spec.dims, initial=initial, data=data)
        tensors.save(out / "head.safetensors", head)
        trace["export"] = _export(model, spec.dims, exported={**initial, **head}, data=data)
    else:
        trace["export"] = _noisy(model, spec.dims, exported=initial, data=data)
    if isinstance(spec.dims, DecoderDims) and not spec.dims.lora_rank:
        net, count = float64.network(spec.dims, initial), spec.gate_batch or greedy.PROMPTS
        assert isinstance(net, Decoder)
        trace["generate"] = greedy.answers(net, spec.dims, initial=initial, data=data, count=count)
    (out / "trace.json").write_text(json.dumps(trace), encoding="utf-8")


def _training(spec: SizeSpec, *, model: str, initial: Arrays, data: batches.Data) -> dict[str, Any]:
    """Logits before and after five steps, and the loss of each step before its update."""
    size = spec.gate_batch or spec.batch
    given = batches.make(data, model=model, batch=size, train_batches=STEPS, infer_batches=1)
    net = float64.network(spec.dims, initial)
    before = float64.logits(net, given.infer[0])
    _agree("logits", before, numpy_forward.logits(spec.dims, initial, given.infer[0]))
    losses = float64.losses(spec, net, given.train)
    first = numpy_forward.logits(spec.dims, initial, given.train[0], training=True)
    check = numpy_forward.cross_entropy(first, given.train[0]["label"])
    _agree("step-1 loss", np.array(losses[0]), np.array(check))
    after = float64.logits(net, given.infer[0])
    state = {k: v.numpy() for k, v in net.state_dict().items() if k in initial}
    _agree("logits after", after, numpy_forward.logits(spec.dims, state, given.infer[0]))
    return {
        **_counts(net),
        "batch": size,
        "optimizer": dataclasses.asdict(spec.optimizer),
        "losses": losses,
        **_replicated(spec, initial=initial, train=given.train),
        "logits": parity.sampled(before).tolist(),
        "logits_after": parity.sampled(after).tolist(),
    }


def _counts(net: nn.Module) -> dict[str, int]:
    """Of trained parameters, and of frozen ones where there are any."""
    trained = sum(one.numel() for one in net.parameters() if one.requires_grad)
    frozen = sum(one.numel() for one in net.parameters() if not one.requires_grad)
    return {"param_count": trained, **({"frozen_count": frozen} if frozen else {})}


def _replicated(spec: SizeSpec, *, initial: Arrays, train: Sequence[Batch]) -> dict[str, Any]:
    """The losses where BatchNorm sees a part of each batch at a time; nothing without BatchNorm."""
    if not isinstance(spec.dims, CnnDims):
        return {}
    samples = len(train[0]["label"])
    found = {
        str(parts): float64.losses(spec, float64.network(spec.dims, initial), train, parts=parts)
        for parts in PARTS
        if samples % parts == 0
    }
    return {"replicated": found}


def _head(model: str, dims: Dims, *, initial: Arrays, data: batches.Data) -> Arrays:
    """The last layer fitted to the training split's features by ridge regression.

    Targets are one-hot, the bias is free: W = (X'X + n r s I)^-1 X'Y with X and Y centred and
    s the mean square of X. Closed form, so an exported model classifies without training.
    """
    net = float64.network(dims, initial)
    seen: list[np.ndarray] = []
    net.get_submodule(weights.HEADS[model][0].rsplit(".", 1)[0]).register_forward_pre_hook(
        lambda _module, given: seen.append(given[0].numpy())
    )
    count = min(FIT_SAMPLES, len(data["train.label"]))
    float64.over(net, model, data, split="train", count=count)
    x, y = np.concatenate(seen), np.eye(dims.classes)[data["train.label"][:count]]
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    centred = x - x_mean
    penalty = RIDGE * count * float(np.mean(centred**2))
    gram = centred.T @ centred + penalty * np.eye(x.shape[1])
    weight = np.linalg.solve(gram, centred.T @ (y - y_mean)).T
    fitted = (weight, y_mean - weight @ x_mean)
    return {k: v.astype(np.float32) for k, v in zip(weights.HEADS[model], fitted)}


def _export(model: str, dims: Dims, *, exported: Arrays, data: batches.Data) -> dict[str, Any]:
    """Logits of the first held-out samples and the accuracy over more of them."""
    full = len(data["test.label"]) // HELD_OUT_BATCH * HELD_OUT_BATCH  # as the backends are judged
    count = min(ACCURACY_SAMPLES, full)
    logits = float64.over(float64.network(dims, exported), model, data, split="test", count=count)
    first = batches.held_out(data, model=model, batch=EXPORT_SAMPLES, limit=EXPORT_SAMPLES)[0]
    _agree(
        "export logits", logits[: len(first["label"])], numpy_forward.logits(dims, exported, first)
    )
    hits = logits.argmax(axis=1) == data["test.label"][:count]
    return {
        "logits": logits[:EXPORT_SAMPLES].tolist(),
        "accuracy": float(hits.mean()),
        "accuracy_samples": count,
    }


def _noisy(model: str, dims: Dims, *, exported: Arrays, data: batches.Data) -> dict[str, Any]:
    """Logits of a few held-out samples; noise has no accuracy, and the decoder no head to train."""
    net = float64.network(dims, exported)
    logits = float64.over(net, model, data, split="test", count=NOISY_SAMPLES)
    first = batches.held_out(data, model=model, batch=NOISY_SAMPLES, limit=NOISY_SAMPLES)[0]
    _agree("export logits", logits, numpy_forward.logits(dims, exported, first))
    return {"logits": parity.sampled(logits).tolist()}


def _agree(what: str, found: np.ndarray, check: np.ndarray) -> None:
    error = float(np.abs(found - check).max() / np.abs(check).max())
    sys.stderr.write(f"  {what}: PyTorch against numpy {error:.1e}\n")
    if not error <= BOUND:
        raise ParityError(f"{what}: PyTorch and numpy differ by {error:.1e}, more than {BOUND}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
