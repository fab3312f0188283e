"""Int8 of a graph with several inputs: MXNet's quantisation, calibrated as in its tutorial."""

from __future__ import annotations

import mxnet as mx
from mxnet.contrib import quantization
from mxnet.gluon import HybridBlock
from mxnet.io import DataBatch, DataDesc, DataIter
from mxnet.ndarray import NDArray

OTHERS = ("elemwise_mul",)
"""Left in float32: the product of two activations would stop ("data type do not match")."""


class Given(DataIter):
    """A graph's inputs, one set after the other; of a set only the first has the batch's axis."""

    def __init__(self, sets: list[list[NDArray]]) -> None:
        first = sets[0]
        super().__init__(len(first[0]))
        self.left = iter(sets)
        names = [f"data{place}" for place in range(len(first))] if first[1:] else ["data"]
        self.provide_data = [
            DataDesc(name, one.shape, layout="" if place else "NT")
            for place, (name, one) in enumerate(zip(names, first))
        ]

    def next(self) -> DataBatch:
        return DataBatch(data=next(self.left))


def quantised(network: HybridBlock, sets: list[list[NDArray]]) -> HybridBlock:
    """A copy of the graph; ranges are the least and largest values seen with ``sets`` of inputs."""
    return quantization.quantize_net_v2(
        network,
        quantize_mode="smart",
        calib_mode="naive",
        calib_data=Given(sets),
        exclude_operators=list(OTHERS),
        ctx=mx.cpu(),
    )
