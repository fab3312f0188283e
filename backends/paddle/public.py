"""paddle.vision's ResNet and PaddleNLP's BERT.

The ResNet's strides sit in the 3x3 convolutions (v1.5), as ours do.
"""

from __future__ import annotations

from paddle import Tensor, nn
from paddle.vision.models import ResNet
from paddle.vision.models.resnet import BottleneckBlock
from paddlenlp.transformers import BertConfig, BertForSequenceClassification

from backends.paddle.programs import Training
from bench.contract import Batches, Cell, Program
from bench.dims import CnnDims, EncoderDims

MODELS = {
    "cnn": "paddle.vision.models.resnet50",
    "transformer": "paddlenlp.transformers.BertForSequenceClassification",
}
MISSING: dict[str, str] = {}


def build(cell: Cell, batches: Batches) -> Program:
    """The public model at the cell's dimensions, in the adapter's own training loop."""
    if isinstance(cell.dims, CnnDims):
        model: nn.Layer = ResNet(BottleneckBlock, depth=50, num_classes=cell.dims.classes)
    else:
        model = Bert(cell.dims)
    return Training(cell, model, batches, forward=model)


class Bert(nn.Layer):
    """Takes its inputs as ours; ids, mask [B, S] -> logits [B, classes]."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.bert = BertForSequenceClassification(
            BertConfig(
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
        )

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.bert(ids, attention_mask=mask)
