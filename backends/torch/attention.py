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
from bench.dims import EncoderDims


def apply(cell: Cell, model: nn.Module, batches: Batches) -> None:
    """Leave the mask out where the tuned track may. An exported graph keeps its input."""
    if cell.trains and isinstance(model, Encoder):
        model.masked = not (fused(cell) and unpadded(batches))


def facts(cell: Cell, model: nn.Module, *, dtype: torch.dtype, where: torch.device) -> Settings:
    """dtype: of the products. Nothing for a network without our encoder."""
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


def kernel(query: Tensor, mask: Tensor | None) -> str:
    """``flash``, ``efficient``, ``cudnn`` or ``math``, of tensors [B, heads, S, width of a head].

    By the function that scaled_dot_product_attention itself asks; the public ones,
    ``can_use_flash_attention`` and its like, tell neither a CPU's kernel nor the order of choice.
    """
    ask = torch._fused_sdp_choice  # noqa: SLF001  see above
    choice = ask(query, query, query, attn_mask=mask)
    return str(SDPBackend(choice).name).removesuffix("_ATTENTION").lower()
