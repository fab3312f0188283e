"""transformers' ResNet and BERT: torch itself ships no models."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    ResNetConfig,
    ResNetForImageClassification,
)

from backends.torch.placing import device, memory_format
from backends.torch.programs import Training
from bench.contract import Batches, Cell, Program
from bench.dims import CnnDims, EncoderDims

MODELS = {
    "cnn": "transformers.ResNetForImageClassification",
    "transformer": "transformers.BertForSequenceClassification",
}
MISSING: dict[str, str] = {}


def build(cell: Cell, batches: Batches) -> Program:
    """The public model at the cell's dimensions, in the adapter's own training loop."""
    if isinstance(cell.dims, CnnDims):
        model: Any = ResNetForImageClassification(resnet_config(cell.dims))
    else:
        model = BertForSequenceClassification(bert_config(cell.dims))
    model = model.to(device=device(cell), memory_format=memory_format(cell)).train()

    def forward(*inputs: Tensor) -> Tensor:
        if cell.model == "cnn":
            return model(pixel_values=inputs[0]).logits
        return model(input_ids=inputs[0], attention_mask=inputs[1]).logits

    return Training(cell, model, batches, forward=forward)


def resnet_config(dims: CnnDims) -> ResNetConfig:
    """v1.5: the stride sits in the 3x3 convolution."""
    expansion = 4 if dims.bottleneck else 1
    return ResNetConfig(
        num_channels=dims.channels,
        embedding_size=dims.widths[0],
        hidden_sizes=[width * expansion for width in dims.widths],
        depths=list(dims.blocks),
        layer_type="bottleneck" if dims.bottleneck else "basic",
        downsample_in_bottleneck=False,
        num_labels=dims.classes,
    )


def bert_config(dims: EncoderDims) -> BertConfig:
    return BertConfig(
        vocab_size=dims.vocab,
        hidden_size=dims.width,
        num_hidden_layers=dims.layers,
        num_attention_heads=dims.heads,
        intermediate_size=dims.ffn,
        max_position_embeddings=dims.positions,
        type_vocab_size=dims.types,
        layer_norm_eps=dims.ln_eps,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=dims.classes,
    )
