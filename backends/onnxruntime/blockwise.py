"""Weights of 8 bits in blocks, each with a scale and a zero point: ONNX Runtime's MatMulNBits."""

from __future__ import annotations

import numpy as np
from onnxruntime.capi._pybind_state import quantize_matmul_8bits

from backends.onnxruntime.graph import Graph
from backends.onnxruntime.models import CONTRIB

METHOD = "MatMulNBits"
SYMMETRIC = False  # each block has a zero point
BITS, BLOCK, INT8 = 8, 32, 4
"""As onnxruntime-genai's model builder has them for CPUs. INT8: the accuracy level at which
activations are rounded to int8, too, block by block. At level 0, where they are not, one token took
84 ms instead of 2 at ``small``.
"""


class Blockwise(Graph):
    """A graph whose products are of such weights.

    They are rounded by the function that ONNX Runtime's MatMulNBitsQuantizer calls: the module of
    that class needs the package onnx_ir, though only to read files.
    """

    def multiply(self, x: str, name: str, weight: np.ndarray) -> str:
        outputs, inputs = weight.shape
        blocks = -(-inputs // BLOCK)
        padded = np.zeros((blocks * BLOCK, outputs), np.float32)
        padded[:inputs] = weight.T
        packed = np.zeros((outputs, blocks, BLOCK), np.uint8)
        scales, zeros = (
            np.zeros((outputs, blocks), np.float32),
            np.zeros((outputs, blocks), np.uint8),
        )
        quantize_matmul_8bits(packed, padded, scales, zeros, BLOCK, outputs, inputs, SYMMETRIC)
        made = {"Q8": packed, "scales": scales, "zeros": zeros}
        return self.op(
            METHOD,
            *(x, *(self.constant(f"{name}.{part}", value) for part, value in made.items())),
            domain=CONTRIB,
            K=inputs,
            N=outputs,
            bits=BITS,
            block_size=BLOCK,
            accuracy_level=INT8,
        )

    def head(self, x: str, name: str) -> str:
        """A table of embeddings has a rounded copy for the head."""
        return self.product(x, name)
