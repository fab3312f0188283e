"""What MXNet is asked beside speed: checkpoints, shapes, files and exchange of arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from mxnet.ndarray import NDArray

from backends.mxnet import models
from backends.mxnet.encoder import ANY
from backends.mxnet.programs import Training, place
from bench.capabilities import Flexible
from bench.contract import Batch, Cell, Program, Unsupported, Weights
from bench.dims import EncoderDims

PARAMETERS, STATES = "net.params", "trainer.states"


def save(program: Program, folder: Path) -> None:
    """Gluon's "Saving and Loading Gluon Models", and ``Trainer.save_states``."""
    assert isinstance(program, Training)
    program.model.save_parameters(str(folder / PARAMETERS))
    program.trainer.save_states(str(folder / STATES))


def restore(program: Program, folder: Path) -> None:
    assert isinstance(program, Training)
    program.model.load_parameters(str(folder / PARAMETERS))
    program.trainer.load_states(str(folder / STATES))


def flexible(cell: Cell, weights: Weights) -> Flexible:
    """A hybridized block: ``hybrid_forward`` is called once for each time it is traced."""
    assert isinstance(cell.dims, EncoderDims)
    model = models.make(dataclasses.replace(cell.dims, sequence=ANY))
    models.load_weights(model, weights)
    traced: list[Any] = []
    forward = model.hybrid_forward

    def counting(functions: Any, *inputs: Any, **parameters: Any) -> Any:
        traced.append(functions)
        return forward(functions, *inputs, **parameters)

    model.hybrid_forward = counting
    model.hybridize()

    def infer(batch: Batch) -> np.ndarray:
        logits: np.ndarray = model(*place(cell, batch)).asnumpy()
        return logits

    return Flexible(infer, lambda: len(traced))


def tensors(path: Path) -> Mapping[str, np.ndarray]:
    raise Unsupported("MXNet reads no safetensors, and the safetensors package has no MXNet part")


def take(array: np.ndarray) -> NDArray:
    return mx.nd.from_dlpack(array.__dlpack__())


class Given:
    """An NDArray for who takes it: MXNet gives capsules only, as they were before the protocol."""

    def __init__(self, array: NDArray) -> None:
        self.array = array

    def __dlpack__(self, **_: object) -> Any:
        return mx.nd.to_dlpack_for_read(self.array)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.context.device_typeid, self.array.context.device_id


give = Given
