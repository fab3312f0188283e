"""What computes attention: the kernel that scaled_dot_product_attention chooses, as it says itself.

Its kernels on GPUs take no mask in flash attention. In the tuned track the encoder is given none
where no batch has padding, as transformers does; else torch's own choice stands.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend

from backends.attention import fused, unpadded
from backends.torch.encoder import Encoder
from bench.contract import Batches, Cell, Settings
from bench.dims import DecoderDims, EncoderDims


def apply(cell: Cell, model: nn.Module, batches: Batches) -> None:
    """Leave the mask out where the tuned track may. An exported graph keeps its input."""
    if cell.trains and isinstance(model, Encoder):
        model.masked = not (fused(cell) and unpadded(batches))


def facts(cell: Cell, model: nn.Module, *, dtype: torch.dtype, where: torch.device) -> Settings:
    """dtype: of the products. Nothing for a network without our encoder or decoder."""
    if isinstance(cell.dims, DecoderDims) and cell.trains:
        return {"attention": _of_decoder(cell, cell.dims, dtype=dtype, where=where)}
    encoder = next((one for one in model.modules() if isinstance(one, Encoder)), None)
    if encoder is None or not isinstance(cell.dims, EncoderDims):
        return {}
    dims = cell.dims
    shape = (cell.batch, dims.sequence, dims.heads, dims.width // dims.heads)
    query = torch.empty(shape, dtype=dtype, device=where, requires_grad=cell.trains)
    mask = torch.ones(cell.batch, 1, 1, dims.sequence, dtype=torch.bool, device=where)
    found: Settings = {"attention": kernel(query.transpose(1, 2), mask if encoder.masked else None)}
    if not encoder.masked:
        found["attention_mask"] = "left out: no batch has padding"
    return found


def _of_decoder(cell: Cell, dims: DecoderDims, *, dtype: torch.dtype, where: torch.device) -> str:
    query, key = (
        torch.empty(
            (cell.batch, heads, dims.sequence, dims.head_width),
            dtype=dtype,
            device=where,
            requires_grad=True,
        )
        for heads in (dims.heads, dims.kv_heads)
    )
    return kernel(query, None, key=key, is_causal=True, enable_gqa=True)


def kernel(query: Tensor, mask: Tensor | None, *, key: Tensor | None = None, **how: bool) -> str:
    """``flash``, ``efficient``, ``cudnn`` or ``math``, of tensors [B, heads, S, width of a head].

    key: where it is not as the query; how: as scaled_dot_product_attention is called. By the
    function that it asks itself; the public ones, ``can_use_flash_attention`` and its like, tell
    neither a CPU's kernel nor the order of choice.
    """
    ask = torch._fused_sdp_choice  # noqa: SLF001  see above
    key = query if key is None else key
    choice = ask(query, key, key, attn_mask=mask, **how)
    return str(SDPBackend(choice).name).removesuffix("_ATTENTION").lower()
