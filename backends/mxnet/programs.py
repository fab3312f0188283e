"""MXNet's built models: what is enqueued, and how to wait for it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from mxnet.contrib import amp
from mxnet.gluon import HybridBlock
from mxnet.kvstore import KVStore
from mxnet.ndarray import NDArray

from backends import answers, fed
from backends.mxnet import feeds, models
from backends.mxnet.optimizers import AGGREGATED, moments, nbytes, optimizer
from backends.mxnet.precision import DTYPES, context, dtype_name, loss_scale
from bench.contract import INPUTS, Batch, Batches, Cell, Kernel, Program, Settings

STATIC = {"static_alloc": True, "static_shape": True}
# Taken before amp.init can wrap it: the gemm probe wants the precision that it asks for.
fully_connected = mx.nd.FullyConnected


def place(cell: Cell, batch: Batch) -> tuple[NDArray, ...]:
    """The model's inputs. Token ids travel as float32, as in GluonNLP (exact below 2^24).

    Integers would stop mixed precision: its casts have no kernel for them ("unknown type for
    MKLDNN: 6").
    """
    names, where = INPUTS[cell.model], context(cell)
    return tuple(mx.nd.array(batch[name], ctx=where, dtype="float32") for name in names)


def sample(cell: Cell, batch: Batch) -> tuple[tuple[NDArray, ...], NDArray]:
    """With the label."""
    return place(cell, batch), mx.nd.array(batch["label"], ctx=context(cell), dtype="float32")


class Inference(Program):
    """Forward passes of ``model`` over batches that are MXNet's arrays already.

    fuse: let oneDNN's subgraphs replace convolutions and dense layers with what follows them.
    """

    def __init__(
        self,
        cell: Cell,
        model: HybridBlock,
        batches: Batches,
        *,
        n_params: int,
        fuse: bool = False,
    ) -> None:
        self.cell = cell
        self.model = model
        self.n_params = n_params
        self.inputs = [place(cell, batch) for batch in batches.infer]
        self.output: NDArray | None = None
        if fuse:
            model.optimize_for(*self.inputs[0], backend="MKLDNN", **STATIC)
        elif cell.mode == "compiled":
            model.hybridize(**STATIC)

    def infer(self, index: int) -> None:
        self.output = self.model(*self.inputs[index])

    def logits(self) -> np.ndarray:
        assert self.output is not None, "infer comes first"
        logits: np.ndarray = self.output.astype("float32").asnumpy()
        return logits

    def frozen(self) -> Iterator[np.ndarray]:
        for parameter in models.kept(self.model):
            yield parameter.list_data()[0].asnumpy()

    def wait(self) -> None:
        mx.nd.waitall()

    def close(self) -> None:
        mx.nd.waitall()
        self.__dict__.clear()
        gc.collect()

    def facts(self) -> Settings:
        """What holds for this program, read from its objects; nothing once it is closed."""
        if not self.__dict__:
            return {}
        flags = dict(self.model._flags)  # noqa: SLF001  what hybridize was told; no public way
        return {
            "compiled": bool(self.model._active),  # noqa: SLF001  no public way
            "fused": "sg_mkldnn" in graph_names(self.model),
            **{name: bool(flags.get(name, False)) for name in STATIC},
            **self.dtypes(),
        }

    def dtypes(self) -> Settings:
        """To infer, a product has the type of the weight that it multiplies by."""
        kept = [one.data() for one in self.model.collect_params().values()]
        largest = max(kept, key=lambda array: array.size)
        return answers.dtypes(parameters=map(dtype_name, kept), compute=[dtype_name(largest)])


def graph_names(block: HybridBlock) -> str:
    """The operators' names in the graph that the block runs; none before its first call."""
    traced = block._cached_graph  # noqa: SLF001  no public way
    return " ".join(traced[1].get_internals().list_outputs()) if traced else ""


class Training(Inference):
    """Gluon's documented training loop, one step at a time; ``infer`` uses the same block."""

    pools = True  # of a step of the small decoder 121 MiB showed; its logits are 119
    store: str | KVStore = "device"  # by name or made; Gluon's default, and unused on one context

    def __init__(self, cell: Cell, model: HybridBlock, batches: Batches) -> None:
        super().__init__(cell, model, batches, n_params=models.n_params(model))
        self.batches = feeds.endless(cell, batches, partial(sample, cell), where=context(cell))
        self.criterion = gluon.loss.SoftmaxCrossEntropyLoss()
        if cell.mode == "compiled":
            self.criterion.hybridize(**STATIC)
        aggregated, fp16 = AGGREGATED[cell.track], cell.precision == "fp16"
        self.trainer = gluon.Trainer(
            models.trained(model),
            optimizer(cell.optimizer, aggregated=aggregated),
            kvstore=self.store,
            update_on_kvstore=False if fp16 else None,  # or it would update before it looks
        )
        if fp16:
            amp.init_trainer(self.trainer)  # its step skips what overflows
        self.last_loss: NDArray | None = None
        self.computed: list[str] = []

    def train_step(self) -> None:
        inputs, label = next(self.batches)
        with autograd.record():
            logits = self.model(*inputs)
            loss = self.criterion(logits, label)
            with self.scaled(loss) as scaled:
                autograd.backward(scaled)
        self.trainer.step(len(label))  # the losses are summed; it divides the gradient
        self.last_loss = loss
        self.computed = [dtype_name(logits)]

    def scaled(self, loss: Any) -> AbstractContextManager[Any]:
        """What is differentiated: the loss, or a list of them, in fp16 times its scale."""
        if self.cell.precision != "fp16":
            return nullcontext(loss)
        scaled: AbstractContextManager[Any] = amp.scale_loss(loss, self.trainer)
        return scaled

    def loss(self) -> float:
        assert self.last_loss is not None, "train_step comes first"
        return float(self.last_loss.mean().asscalar())

    def facts(self) -> Settings:
        facts = super().facts()
        if not facts:
            return facts
        facts["optimizer"] = type(self.trainer.optimizer).__name__
        facts["optimizer_aggregates"] = self.trainer.optimizer.aggregate_num
        facts.update(fed.facts(self.batches))
        if self.cell.precision == "fp16":
            facts["loss_scale"] = loss_scale(self.trainer)
        return facts

    def optimizer_bytes(self) -> int | None:
        return nbytes(moments(self.trainer)) or None

    def dtypes(self) -> Settings:
        trained = models.trained(self.model).values()
        return answers.dtypes(
            parameters=(dtype_name(one.list_data()[0]) for one in trained),
            compute=self.computed,
            reduce=(dtype_name(one.list_grad()[0]) for one in trained),
            optimizer=map(dtype_name, moments(self.trainer)),
        )


def matmul(cell: Cell, precision: str, n: int) -> Kernel:
    """An n x n x n matrix product in one precision, by the operator that the dense layers use."""
    arrays = [mx.nd.random.uniform(shape=(n, n), ctx=context(cell)) for _ in range(3)]
    if precision in DTYPES:
        arrays = [mx.nd.amp_cast(array, dtype=DTYPES[precision]) for array in arrays]
    left, right, out = arrays
    mx.nd.waitall()
    how = {"no_bias": True, "num_hidden": n, "flatten": False, "out": out}
    return Kernel(lambda: fully_connected(left, right, **how), lambda _: mx.nd.waitall())


def stream(cell: Cell, n: int) -> Kernel:
    """Adds 1 to n float32 numbers."""
    source = mx.nd.ones(n, ctx=context(cell))
    return Kernel(lambda: source + 1, lambda _: mx.nd.waitall())
