"""MXNet's built models: what is enqueued, and how to wait for it."""

from __future__ import annotations

import gc
import itertools

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from mxnet.contrib import amp, quantization
from mxnet.gluon import HybridBlock
from mxnet.kvstore import KVStore
from mxnet.ndarray import NDArray

from backends.mxnet.optimizers import AGGREGATED, optimizer
from bench.contract import INPUTS, Batch, Batches, Cell, Kernel, Program, Settings

BF16 = amp.amp.bfloat16
STATIC = {"static_alloc": True, "static_shape": True}
NAMES = {1: ("data",), 2: ("data0", "data1")}
"""What Gluon calls the inputs of a graph, by their number."""

# Taken before amp.init can wrap it: the gemm probe wants the precision that it asks for.
fully_connected = mx.nd.FullyConnected


def place(cell: Cell, batch: Batch) -> tuple[NDArray, ...]:
    """The model's inputs. Token ids travel as float32, as in GluonNLP (exact below 2^24).

    Integers would stop mixed precision: its casts have no kernel for them ("unknown type for
    MKLDNN: 6").
    """
    return tuple(mx.nd.array(batch[name], dtype="float32") for name in INPUTS[cell.model])


def dtype_name(array: NDArray) -> str:
    """MXNet calls bfloat16 a structure of one field."""
    return "bfloat16" if array.dtype == BF16 else np.dtype(array.dtype).name


def n_params(block: HybridBlock) -> int:
    """Trained numbers; BatchNorm's running statistics are parameters without a gradient."""
    trained = [one for one in block.collect_params().values() if one.grad_req != "null"]
    return sum(one.data().size for one in trained)  # a block that was read has no shapes


def prepared(cell: Cell, block: HybridBlock, batches: list[tuple[NDArray, ...]]) -> HybridBlock:
    """What infers in the cell's precision: ``block``, or a converted copy of its graph.

    batches: what int8 is calibrated on; their shapes trace the graph.
    """
    if cell.precision == "bf16":
        block.hybridize()
        block(*batches[0])
        # The weights of convolutions and dense layers are kept in bf16.
        return amp.convert_hybrid_block(
            block, target_dtype="bfloat16", ctx=mx.cpu(), cast_optional_params=True
        )
    if cell.precision == "int8":
        columns = [mx.nd.concat(*column, dim=0) for column in zip(*batches)]
        names = NAMES[len(columns)]
        # As MXNet's tutorial: ranges are the least and largest values seen.
        return quantization.quantize_net_v2(
            block,
            quantize_mode="smart",
            calib_mode="naive",
            calib_data=mx.io.NDArrayIter(dict(zip(names, columns)), batch_size=len(batches[0][0])),
            ctx=mx.cpu(),
        )
    return block


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
            "weight_dtypes": sorted(
                {dtype_name(one.data()) for one in self.model.collect_params().values()}
            ),
            **{name: bool(flags.get(name, False)) for name in STATIC},
        }


def graph_names(block: HybridBlock) -> str:
    """The operators' names in the graph that the block runs; none before its first call."""
    traced = block._cached_graph  # noqa: SLF001  no public way
    return " ".join(traced[1].get_internals().list_outputs()) if traced else ""


class Training(Inference):
    """Gluon's documented training loop, one step at a time; ``infer`` uses the same block."""

    store: str | KVStore = "device"
    """The Trainer's kvstore, by name or made; Gluon's default, and unused on one context."""

    def __init__(self, cell: Cell, model: HybridBlock, batches: Batches) -> None:
        super().__init__(cell, model, batches, n_params=n_params(model))
        placed = [
            (place(cell, batch), mx.nd.array(batch["label"], dtype="float32"))
            for batch in batches.train
        ]
        self.batches = itertools.cycle(placed)
        self.criterion = gluon.loss.SoftmaxCrossEntropyLoss()
        if cell.mode == "compiled":
            self.criterion.hybridize(**STATIC)
        aggregated = AGGREGATED[cell.track]
        self.trainer = gluon.Trainer(
            model.collect_params(),
            optimizer(cell.optimizer, aggregated=aggregated),
            kvstore=self.store,
        )
        self.last_loss: NDArray | None = None

    def train_step(self) -> None:
        inputs, label = next(self.batches)
        with autograd.record():
            loss = self.criterion(self.model(*inputs), label)
        loss.backward()
        self.trainer.step(len(label))  # the losses are summed; it divides the gradient
        self.last_loss = loss

    def loss(self) -> float:
        assert self.last_loss is not None, "train_step comes first"
        return float(self.last_loss.mean().asscalar())

    def facts(self) -> Settings:
        facts = super().facts()
        if not facts:
            return facts
        facts["optimizer"] = type(self.trainer.optimizer).__name__
        facts["optimizer_aggregates"] = self.trainer.optimizer.aggregate_num
        return facts


def matmul(precision: str, n: int) -> Kernel:
    """An n x n x n matrix product in one precision, by the operator that the dense layers use."""
    arrays = [mx.nd.random.uniform(shape=(n, n)) for _ in range(3)]
    if precision == "bf16":
        arrays = [mx.nd.amp_cast(array, dtype=BF16) for array in arrays]
    left, right, out = arrays
    mx.nd.waitall()
    how = {"no_bias": True, "num_hidden": n, "flatten": False, "out": out}
    return Kernel(lambda: fully_connected(left, right, **how), lambda _: mx.nd.waitall())


def stream(n: int) -> Kernel:
    """Adds 1 to n float32 numbers."""
    source = mx.nd.ones(n)
    return Kernel(lambda: source + 1, lambda _: mx.nd.waitall())
