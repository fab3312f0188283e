"""JAX's built models: what is enqueued, and how to wait for it.

A program holds a model as flax's performance guide says: split once, its arrays passed to a
jitted function that merges them while it is traced, so that a step walks no Python objects.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from backends import answers, fed
from backends.jax import attention, feeds, platforms, recompute
from backends.jax.split import Inputs, Split, State, arrays
from backends.jax.steps import first_scale, make_scaled_step, make_step
from bench.contract import INPUTS, Batch, Batches, Cell, Optimizer, Program, Settings

DTYPES = {"bf16": jnp.bfloat16, "fp16": jnp.float16}
PRODUCTS = {"fp32": "highest", "tf32": "tensorfloat32"}
"""``jax_default_matmul_precision`` on accelerators. Its own default multiplies float32 in TF32 on
NVIDIA's GPUs and in bfloat16 on TPUs."""

Forward = Callable[[State, Inputs], Array]


def place(cell: Cell, batch: Batch) -> Inputs:
    """The model's inputs on the device, images as NHWC, the layout of flax's convolutions."""
    if cell.model == "cnn":
        return (jnp.array(channels_last(batch["image"])),)
    return tuple(integers(batch[name]) for name in INPUTS[cell.model])


def sample(cell: Cell, batch: Batch) -> tuple[Inputs, Array]:
    """With the label."""
    return place(cell, batch), integers(batch["label"])


def channels_last(image: Any) -> Any:
    """[B, C, H, W] -> [B, H, W, C], of numpy's or JAX's arrays."""
    return image.transpose(0, 2, 3, 1)


def integers(value: np.ndarray) -> Array:
    """As int32: JAX has no int64 unless all of its types are made 64 bits wide."""
    return jnp.array(value.astype(np.int32))


class Inference(Program):
    """Forward passes over batches that lie on the device already.

    state: owned from now on. function: the state and a batch's inputs -> logits; compiled once for
    each batch size.
    """

    def __init__(self, cell: Cell, state: State, batches: Batches, *, function: Forward) -> None:
        self.cell = cell
        self.params, self.kept, self.rest = state
        self.n_params = sum(value.size for value in self.params)
        self.inputs = [place(cell, batch) for batch in batches.infer]
        self.function = function
        self.forward = jax.jit(function)
        self.output: Array | None = None

    @property
    def state(self) -> State:
        return self.params, self.kept, self.rest

    def infer(self, index: int) -> None:
        self.output = self.forward(self.state, self.inputs[index])

    def logits(self) -> np.ndarray:
        assert self.output is not None, "infer comes first"
        return np.array(self.output, np.float32)  # a copy: a view would keep the output alive

    def frozen(self) -> Iterator[np.ndarray]:
        for value in self.kept:
            yield np.array(value.copy())  # of a copy: an array keeps what it was read as

    def wait(self) -> None:
        jax.block_until_ready((self.output, self.params, self.rest))

    def close(self) -> None:
        self.__dict__.clear()
        gc.collect()

    def facts(self) -> Settings:
        """What holds for this program, read from its objects; nothing once it is closed."""
        if not self.__dict__:
            return {}
        facts: Settings = {
            "compiled": isinstance(self.forward, jax.stages.Wrapped),
            **self.dtypes(),
        }
        if self.cell.model == "cnn":
            last = self.inputs[0][0].shape[-1] == self.cell.dims.channels
            facts["memory_format"] = "channels_last" if last else "contiguous"
        return facts

    def dtypes(self, **trained: Iterable[Any]) -> Settings:
        # Not computed: jit keeps the trace for the first call.
        logits = self.forward.eval_shape(self.state, self.inputs[0])
        kept = (value.dtype for value in self.params)
        return answers.dtypes(parameters=kept, compute=[logits.dtype], **trained)


class Training(Inference):
    """Loss, gradients and optax's update in one compiled step that reuses its inputs' memory.

    model: any nnx module; what trains is donated, so nothing else may use it any more.
    """

    def __init__(self, cell: Cell, model: nnx.Module, batches: Batches) -> None:
        split = Split(model)
        super().__init__(cell, arrays(model), batches, function=split.evaluate)
        send = partial(sample, cell)
        self.batches = feeds.endless(cell, batches, send)
        self.shapes = jax.eval_shape(lambda: send(batches.train[0]))
        self.optimizer = optimizer(cell.optimizer)
        self.moments = jax.jit(self.optimizer.init)(self.params)
        self.gradients: set[Any] = set()
        step = make_step(split, self.optimizer, types=self.gradients)
        if cell.precision == "fp16":
            self.moments = (self.moments, first_scale())
            step = make_scaled_step(split, self.optimizer, types=self.gradients)
        self.step = jax.jit(step, donate_argnums=(0, 2, 3))  # not the frozen ones
        self.last_loss: Array | None = None

    def train_step(self) -> None:
        inputs, label = next(self.batches)
        self.params, self.rest, self.moments, self.last_loss = self.step(
            *self.state, self.moments, inputs, label
        )

    def loss(self) -> float:
        assert self.last_loss is not None, "train_step comes first"
        return float(self.last_loss)

    def device_bytes(self) -> int | None:
        return max((one["bytes_in_use"] for one in platforms.memory_stats()), default=None)

    def wait(self) -> None:
        jax.block_until_ready((self.last_loss, self.moments))
        super().wait()

    def facts(self) -> Settings:
        facts = super().facts()
        if not facts:
            return facts
        moments = self.moments
        if self.cell.precision == "fp16":
            moments, scale = moments
            facts["loss_scale"] = float(scale.scale)
        # Optax's optimizers are functions: what they are shows in the states that they keep.
        states = jax.tree.leaves(moments, is_leaf=lambda node: hasattr(node, "_fields"))
        facts["optimizer"] = "+".join(type(state).__name__ for state in states if state)
        facts.update(fed.facts(self.batches))
        state = (*self.state, self.moments)
        if recompute.asked(self.cell):
            facts.update(recompute.facts(self.step, *state, *self.shapes))
        if self.cell.model != "cnn" and self.gradients:  # it is traced already
            facts["attention"] = attention.kernel(self.step.trace(*state, *self.shapes).jaxpr)
        return facts

    def dtypes(self, **trained: Iterable[Any]) -> Settings:
        if not self.gradients:  # not traced yet
            return {}
        # Over several devices XLA adds up, in a type that it chooses.
        added = self.gradients if self.cell.world_size == 1 else ()
        kept = (value.dtype for value in self.kept_moments())
        return super().dtypes(reduce=added, optimizer=kept, **trained)

    def kept_moments(self) -> list[Array]:
        return [value for value in jax.tree.leaves(self.moments) if value.ndim]

    def optimizer_bytes(self) -> int | None:
        return sum(value.addressable_data(0).nbytes for value in self.kept_moments()) or None


def optimizer(asked: Optimizer) -> optax.GradientTransformation:
    """Optax's own optimizers; its SGD has no decay of its own, so L2 is added before it."""
    if asked.name == "sgd":
        decay = optax.add_decayed_weights(asked.weight_decay)
        return optax.chain(decay, optax.sgd(asked.lr, momentum=asked.momentum or None))
    return optax.adamw(
        asked.lr,
        b1=asked.beta1,
        b2=asked.beta2,
        eps=asked.eps,
        weight_decay=asked.weight_decay,
    )
