"""Paddle's inference engine over a saved static program."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import inference, nn
from paddle.static import InputSpec

from backends.paddle.devices import synchronize
from backends.paddle.exports import GRAPH, WEIGHTS, parameters
from backends.paddle.programs import place, trainable
from bench.contract import INPUTS, Batches, Cell, Program, Settings

GPU_POOL_MIB = 100  # at the start, as in Paddle's own examples; it grows
FLOAT32 = inference.PrecisionType.Float32
PRECISIONS = {"bf16": inference.PrecisionType.Bfloat16, "fp16": inference.PrecisionType.Half}


def config(path: Path, *, device: str, precision: str, threads: int) -> inference.Config:
    """The predictor's defaults on a CPU are oneDNN's operators and fused graphs.

    On a GPU a program is converted to mixed precision when it is loaded.
    """
    made = inference.Config(str(path / GRAPH), str(path / WEIGHTS))
    made.set_cpu_math_library_num_threads(threads)
    made.disable_glog_info()
    if device != "cpu":
        # The first: a cell sees no device of others.
        made.enable_use_gpu(GPU_POOL_MIB, 0, PRECISIONS.get(precision, FLOAT32))
    elif precision == "bf16":
        made.enable_onednn_bfloat16()
    return made


class Served(Program):
    """A static program in Paddle's inference engine. model: the layer it was saved from, if any."""

    def __init__(
        self, cell: Cell, path: Path, batches: Batches, *, model: nn.Layer | None = None
    ) -> None:
        sizes = parameters(path)
        self.n_params = trainable(model) if model else sum(size for size, used in sizes if used)
        self.model = model
        self.cell = cell
        self.config = config(
            path, device=cell.device, precision=cell.precision, threads=cell.threads
        )
        self.predictor = inference.create_predictor(self.config)
        self.inputs = [place(cell, batch) for batch in batches.infer]
        self.handles = [self.predictor.get_input_handle(name) for name in INPUTS[cell.model]]
        (output,) = self.predictor.get_output_names()
        self.output = self.predictor.get_output_handle(output)

    def infer(self, index: int) -> None:
        for handle, value in zip(self.handles, self.inputs[index]):
            handle.share_external_data(value)  # no copy
        self.predictor.run()

    def logits(self) -> np.ndarray:
        logits: np.ndarray = self.output.copy_to_cpu()
        return logits.astype(np.float32, copy=False)

    def wait(self) -> None:
        synchronize(self.cell)

    def close(self) -> None:
        self.__dict__.clear()
        gc.collect()

    def facts(self) -> Settings:
        """What holds for this program; nothing once it is closed."""
        if not self.__dict__:
            return {}
        return {
            "compiled": self.config.ir_optim(),
            "runtime": "paddle.inference",
            "onednn": self.config.onednn_enabled(),
            "gpu": self.config.use_gpu(),
            "predictor_threads": self.config.cpu_math_library_num_threads(),
        }


def dtype(precision: str, threads: int) -> str:
    """The type in which the engine really multiplies: bfloat16 rounds 1 + 2**-9 to 1."""
    n = 64
    layer = nn.Linear(n, n, bias_attr=False)
    layer.set_state_dict({"weight": np.eye(n, dtype=np.float32)})
    value: Any = paddle.full([n, n], 1 + 2.0**-9)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        stem = str(Path(folder, Path(GRAPH).stem))
        paddle.jit.save(layer, stem, input_spec=[InputSpec([None, n], "float32", "x")])
        predictor = inference.create_predictor(
            config(Path(folder), device="cpu", precision=precision, threads=threads)
        )
    (product,) = predictor.run([value])
    return "float32" if float(product[0, 0]) > 1 else "bfloat16"
