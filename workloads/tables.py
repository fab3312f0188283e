"""The dims of each model as a spec may hold them. Parent half; ``workloads.spec`` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)

from bench.dims import CnnDims, DecoderDims, EncoderDims


class Table(BaseModel):
    """No key is unknown, and no type is guessed: ``batch = true`` is not 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CnnTable(Table):
    """A residual network."""

    image: PositiveInt = Field(description="pixels of an image's side")
    channels: PositiveInt
    classes: PositiveInt
    stem: Literal["3x3", "7x7"] = Field(description="7x7: ImageNet's, with pooling")
    widths: list[PositiveInt] = Field(description="channels of each stage", min_length=1)
    blocks: list[PositiveInt] = Field(description="residual blocks of each stage", min_length=1)
    bottleneck: bool = False
    bn_eps: PositiveFloat = 1e-5
    bn_momentum: PositiveFloat = Field(0.1, description="weight of the new batch")

    @model_validator(mode="after")
    def _stages(self) -> CnnTable:
        if len(self.widths) != len(self.blocks):
            raise ValueError("widths and blocks must be equally long")
        return self

    def dims(self) -> CnnDims:
        given = self.model_dump()
        return CnnDims(**{**given, "widths": tuple(self.widths), "blocks": tuple(self.blocks)})


class EncoderTable(Table):
    """A BERT-layout encoder with a pooler and a classifier."""

    vocab: PositiveInt
    positions: PositiveInt = Field(description="longest sequence that the weights allow")
    types: PositiveInt
    layers: PositiveInt
    width: PositiveInt
    heads: PositiveInt
    ffn: PositiveInt = Field(description="width of the feed-forward layer")
    classes: PositiveInt
    sequence: PositiveInt = Field(description="tokens of a sample, padding included")
    ln_eps: PositiveFloat = 1e-12

    @model_validator(mode="after")
    def _fits(self) -> EncoderTable:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        if self.sequence > self.positions:
            raise ValueError(f"sequence {self.sequence} is longer than positions")
        return self

    def dims(self) -> EncoderDims:
        return EncoderDims(**self.model_dump())


class DecoderTable(Table):
    """A decoder of Llama's layout; its head is its table of embeddings."""

    vocab: PositiveInt
    layers: PositiveInt
    width: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt = Field(description="heads of keys and values, shared by queries")
    ffn: PositiveInt = Field(description="width of the gated feed-forward layer")
    sequence: PositiveInt = Field(description="tokens of a sample")
    rope_theta: PositiveFloat = Field(10000.0, description="base of the rotary angles")
    norm_eps: PositiveFloat = 1e-5
    lora_rank: int = Field(0, ge=0, description="of the adapters that the model lora trains")
    lora_alpha: PositiveFloat = Field(16.0, description="their output counts alpha / rank times")

    @model_validator(mode="after")
    def _fits(self) -> DecoderTable:
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} must be a multiple of twice heads {self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} must be a multiple of kv_heads {self.kv_heads}")
        return self

    def dims(self) -> DecoderDims:
        return DecoderDims(**self.model_dump())


def kind_of_dims(given: Any) -> str:
    """Whose dims a table is meant to hold, by the keys that only one model has."""
    names = set(given) if isinstance(given, Mapping) else set()
    if names & (set(CnnTable.model_fields) - set(EncoderTable.model_fields)):
        return "cnn"
    only = set(DecoderTable.model_fields) - set(EncoderTable.model_fields)
    return "decoder" if names & only else "transformer"


DimsTable = Annotated[
    Annotated[CnnTable, Tag("cnn")]
    | Annotated[EncoderTable, Tag("transformer")]
    | Annotated[DecoderTable, Tag("decoder")],
    Discriminator(kind_of_dims),
]
TABLES: Mapping[str, type[CnnTable | EncoderTable | DecoderTable]] = {
    "cnn": CnnTable,
    "transformer": EncoderTable,
    "decoder": DecoderTable,
    "lora": DecoderTable,
}
