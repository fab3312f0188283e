"""GluonCV's ResNet and GluonNLP's BERT.

``resnet50_v1b`` has its strides in the 3x3 convolutions (v1.5), as ours has; ``resnet50_v1`` of
MXNet's own ``gluon.model_zoo`` has them in the 1x1 before, and so does fewer operations.
"""

from __future__ import annotations

from typing import Any

import mxnet as mx
from gluoncv.model_zoo import resnetv1b
from gluonnlp.model import BERTClassifier, BERTModel
from gluonnlp.model.bert import BERTEncoder
from mxnet.gluon import HybridBlock

from backends.mxnet.precision import context
from backends.mxnet.programs import Training, place
from bench.contract import Batches, Cell, Program
from bench.dims import CnnDims, EncoderDims

MODELS = {
    "cnn": "gluoncv.model_zoo.resnet50_v1b",
    "transformer": "gluonnlp.model.BERTClassifier",
}
MISSING: dict[str, str] = {}


def build(cell: Cell, batches: Batches) -> Program:
    """The public model at the cell's dimensions, in the adapter's own training loop."""
    model = resnet(cell.dims) if isinstance(cell.dims, CnnDims) else Bert(cell.dims)
    model.initialize(ctx=context(cell))
    model(*place(cell, batches.train[0]))  # Gluon learns the shapes from a first pass
    mx.nd.waitall()
    return Training(cell, model, batches)


def resnet(dims: CnnDims) -> HybridBlock:
    """GluonCV's class, whose stem (7x7) and widths are fixed; [B, 3, H, W] -> [B, classes]."""
    block = resnetv1b.BottleneckV1b if dims.bottleneck else resnetv1b.BasicBlockV1b
    norm = {"momentum": 1 - dims.bn_momentum, "epsilon": dims.bn_eps}
    return resnetv1b.ResNetV1b(block, list(dims.blocks), classes=dims.classes, norm_kwargs=norm)


class Bert(HybridBlock):
    """GluonNLP's BERT with its inputs made from ours; ids, mask [B, S] -> logits [B, classes].

    It takes the sentences' lengths for a mask, and a type for every token.
    """

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        with self.name_scope():
            encoder = BERTEncoder(
                num_layers=dims.layers,
                units=dims.width,
                hidden_size=dims.ffn,
                max_length=dims.positions,
                num_heads=dims.heads,
                layer_norm_eps=dims.ln_eps,
            )
            bert = BERTModel(
                encoder,
                vocab_size=dims.vocab,
                token_type_vocab_size=dims.types,
                units=dims.width,
                embed_size=dims.width,
                use_decoder=False,
                use_classifier=False,
            )
            self.bert = BERTClassifier(bert, num_classes=dims.classes)

    def hybrid_forward(self, F: Any, ids: Any, mask: Any) -> Any:
        return self.bert(ids, F.zeros_like(ids), F.sum(mask, axis=1))
