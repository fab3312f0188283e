"""The shapes of the models, as plain values. Worker half; ``bench.contract`` hands them on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union


@dataclass(frozen=True)
class CnnDims:
    """A residual network. ``stem`` is "3x3" (stride 1, no pooling) or "7x7" (ImageNet's)."""

    image: int
    channels: int
    classes: int
    stem: str
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    bottleneck: bool = False
    bn_eps: float = 1e-5
    bn_momentum: float = 0.1  # weight of the new batch, PyTorch's convention


@dataclass(frozen=True)
class EncoderDims:
    """A BERT-layout encoder with a pooler (tanh) and a classifier on the first token."""

    vocab: int
    positions: int
    types: int
    layers: int
    width: int
    heads: int
    ffn: int
    classes: int
    sequence: int
    ln_eps: float = 1e-12


@dataclass(frozen=True)
class DecoderDims:
    """A decoder of Llama's layout; its head is its table of embeddings.

    kv_heads: of keys and values, each of which serves heads / kv_heads queries. rope_theta: base of
    the rotary angles. norm_eps: of every RMSNorm. lora_rank: of the adapters beside attention's
    four projections (LoRA, arXiv:2106.09685), which are then all that is trained; 0: none.
    """

    vocab: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    ffn: int
    sequence: int
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    lora_rank: int = 0
    lora_alpha: float = 16.0

    @property
    def lora_scale(self) -> float:
        """What an adapter's output is multiplied by before it is added."""
        return self.lora_alpha / self.lora_rank

    @property
    def head_width(self) -> int:
        return self.width // self.heads


@dataclass(frozen=True)
class ModuleDims:
    """A PyTorch module of the user's own, whose shapes only PyTorch knows.

    factory: ``package.module:function``. path: the folder that Python finds the package in, on this
    machine. sources: sha256 of its files, as ``workloads.own.sources`` makes it.
    """

    factory: str
    path: str
    sources: str


Dims = Union[CnnDims, EncoderDims, DecoderDims]
"""Of the models that are written here, for each framework."""

AnyDims = Union[Dims, ModuleDims]


def ours(dims: AnyDims) -> Dims:
    """Where only the models that are written here can come."""
    assert not isinstance(dims, ModuleDims), "the shapes of a user's own module are not known"
    return dims


def dims_of(value: Mapping[str, Any]) -> AnyDims:
    """From JSON, which knows no tuples."""
    made: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
    if "factory" in made:
        return ModuleDims(**made)
    if "widths" in made:
        return CnnDims(**made)
    return DecoderDims(**made) if "kv_heads" in made else EncoderDims(**made)
