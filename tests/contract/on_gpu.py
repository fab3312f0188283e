"""Checks of what is asked of a GPU, under a backend's own interpreter: ``on_gpu:NAME``.

None needs a GPU: torch's operators are watched, and JAX lowers a function for a GPU on any
machine once it is told that there is cuDNN.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np

from bench import safetensors
from bench.contract import Batches, Cell

CUDNN_VERSION = 91000


def watch_torch(task: Any) -> dict[str, Any]:
    """Of batches with padding and without, on a CPU and as on a GPU: the facts, and the operators
    that a CPU ran; and how far logits are off where the mask is left out.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    from backends.torch import attention, models

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self, operator: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if "scaled_dot_product" in str(operator):
                called.add(str(operator))
            return operator(*args, **(kwargs or {}))

    sequence = task.cell.dims.sequence
    ids = np.ones((sequence, sequence), np.int64)
    found: dict[str, Any] = {}
    for name, mask in {"whole": ids, "padded": np.tri(sequence, dtype=np.int64)}.items():
        batch = {"ids": ids, "mask": mask}
        for cell in (task.cell, task.cells["tuned"]):
            model, called = models.make(cell.dims), set[str]()
            inputs = [torch.from_numpy(value) for value in batch.values()]
            plain = model(*inputs)
            attention.apply(cell, model, Batches([{**batch, "mask": ids}], [batch]))
            facts = attention.facts(cell, model, dtype=torch.float32, where=torch.device("cpu"))
            with Watch():
                logits = model(*inputs)
            off = float((logits - plain).abs().max())
            found[f"{name} {cell.track}"] = {"facts": facts, "called": sorted(called), "off": off}
    return found


def lower_jax(task: Any) -> dict[str, Any]:
    """In either track: what the fact says, and how often the step for a GPU calls cuDNN.

    off: by how much lengths in place of a mask change attention.
    """
    import jax.numpy as jnp

    from backends.jax import attention, models
    from backends.jax.programs import Training

    _pretend()
    q, k, v = jnp.array(np.random.default_rng(0).random((3, 4, 16, 2, 8)), jnp.float32)
    mask = jnp.array(np.arange(16) < np.array([[16], [9], [3], [1]]))[:, None, None, :]
    plain, lengths = (attention.attend(q, k, v, mask, how) for how in (None, "xla"))
    found: dict[str, Any] = {"off": float(abs(plain - lengths).max())}
    for cell in _both(task):
        weights = safetensors.read(task.files["weights"])
        model = models.make(cell.dims, weights, dtype=jnp.bfloat16)
        attention.apply(cell, model)
        program = Training(cell, model, task.batches())
        traced = program.step.trace(*program.state, program.moments, *program.shapes)
        text = traced.lower(lowering_platforms=("cuda",)).as_text()
        called = {name: text.count(f"@__cudnn$fmhaSoftmax{name}(") for name in ("", "Backward")}
        found[cell.track] = {"fact": attention.kernel(traced.jaxpr), "called": called}
    return found


def trace_keras(task: Any) -> dict[str, Any]:
    """In either track: what the fact says. off: by how much a mask of each query changes logits."""
    import keras

    from backends.keras import attention, models
    from backends.keras.programs import inputs_of

    logging.disable(logging.CRITICAL)  # Keras logs why it goes on without cuDNN
    _pretend()
    keras.config.set_dtype_policy("mixed_bfloat16")
    found, logits = {}, []
    for cell in _both(task):
        model = models.make(cell.dims, square=attention.square(cell))
        found[cell.track] = attention.facts(cell, model)["attention"]
    keras.config.set_dtype_policy("float32")
    for cell in _both(task):
        model = models.make(cell.dims, square=attention.square(cell))
        models.load_weights(model, safetensors.read(task.files["weights"]))
        logits.append(np.asarray(model(inputs_of(cell, task.batches().train[0]))))
    return {**found, "off": float(abs(logits[0] - logits[1]).max())}


def compile_torch(task: Any) -> dict[str, Any]:
    """What an adapter answers to cells with CUDA graphs, and torch.compile is told for them."""
    import torch

    from backends.torch import programs

    told: list[Any] = []
    torch.compile = lambda model, **how: told.append(how) or model
    model = torch.nn.Linear(2, 2)
    for cell in (task.cell, task.cells["able"]):
        programs.compiled(cell, model)
    said = {name: task.adapter.unsupported(cell) for name, cell in task.cells.items()}
    return {"told": told, "said": said}


def convert_torch(task: Any) -> dict[str, Any]:
    """A converted cnn that recomputes, against the plain one: names, layers, and running means
    after a step. One process synchronises with nobody, so a CPU can do it.
    """
    import torch

    from backends.torch import batchnorm, models, recompute

    found: dict[str, Any] = {}
    for name, cell in {"plain": task.cell, **task.cells}.items():
        model = models.make(cell.dims)
        models.load_weights(model, safetensors.read(task.files["weights"]))
        model = batchnorm.apply(cell, model).train()
        recompute.apply(cell, model)
        image = torch.from_numpy(np.array(task.batches().train[0]["image"]))
        model(image).sum().backward()
        means = [one for key, one in model.named_buffers() if key.endswith("running_mean")]
        found[name] = {
            "names": list(model.state_dict()),
            "layers": batchnorm.facts(model).get("batchnorm_synchronised", 0),
            "means": torch.cat(means).tolist(),
        }
    return found


def _both(task: Any) -> list[Cell]:
    """Out of the box and tuned, on a GPU in half precision."""
    tuned = task.cells["tuned"]
    return [replace(tuned, track="out-of-box"), tuned]


def _pretend() -> None:
    """Let JAX believe that there is cuDNN and a GPU for it; its other checks stay."""
    from jax._src.cudnn import fused_attention_stablehlo as cudnn

    cudnn.check_cudnn_version = lambda: CUDNN_VERSION
    cudnn.check_compute_capability = lambda _capability: True
