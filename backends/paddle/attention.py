"""What computes attention: the kernel that Paddle's scaled_dot_product_attention chooses.

In half precision on a GPU that is flash attention, with a mask or without: nothing to tune.
"""

from __future__ import annotations

from typing import Any

import paddle

from backends.paddle.devices import DTYPES
from bench.contract import Cell, Settings
from bench.dims import DecoderDims, EncoderDims

try:
    from paddle.nn.functional import sdpa
except ImportError:  # before 3.3 it chose elsewhere, and does not say what
    sdpa = None

NAMES = {"flash_attn": "flash", "mem_efficient": "efficient"}


def facts(cell: Cell) -> Settings:
    """By the function that scaled_dot_product_attention itself asks; nothing where it has none."""
    dims = cell.dims
    if not isinstance(dims, (EncoderDims, DecoderDims)) or not hasattr(sdpa, "select_sdp_for_sdpa"):
        return {}
    if not sdpa._config:  # noqa: SLF001  as it does at its first call
        sdpa.init_config()
    chosen = sdpa.select_sdp_for_sdpa(asked(cell, dims))
    return {"attention": NAMES.get(chosen, chosen)}


def asked(cell: Cell, dims: EncoderDims | DecoderDims) -> Any:
    """What the encoder, or the decoder, gives it."""
    causal = isinstance(dims, DecoderDims)
    shape, shared = (
        paddle.Size([cell.batch, dims.sequence, heads, dims.width // dims.heads])
        for heads in (dims.heads, dims.kv_heads if causal else dims.heads)
    )
    dtype = getattr(paddle, DTYPES.get(cell.precision, "float32"))
    return sdpa.SDPParams(
        query_shape=shape,
        key_shape=shared,
        value_shape=shared,
        attn_mask_shape=None if causal else paddle.Size([cell.batch, 1, 1, dims.sequence]),
        dropout=0.0,
        is_causal=causal,
        scale=None,
        query_stop_gradient=not cell.trains,
        dtype=(dtype,) * 3,
        place=(paddle.zeros([1]).place,) * 3,
    )
